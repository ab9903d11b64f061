"""The paper's figures, one module for each; `bspa.figures.style` is what they share.

Every module has functions that compute what is drawn and one that draws it.
"""
