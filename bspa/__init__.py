"""Bi-Sampling Parameter Attribution (BSPA) for image super-resolution.

The method of Luo, Xie and Qu, "Learning Re-sampling Methods with Parameter Attribution for Image
Super-resolution" (NeurIPS 2023). Each module holds one concept of the paper and can be used without the
Snakemake workflow that drives it.
"""
