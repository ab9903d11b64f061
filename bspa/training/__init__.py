"""Training (Section 3.3). A run is laid out by `bspa.config.runs` in cycles of Algorithm 1:

    theta' = train_stage on uniform samples, from the last theta        loop.py (Eq. 1)
    theta = train_stage on inverse samples, from theta'                 loop.py (Eq. 4)
    IG = integrated_gradients from theta' to theta                      attribution.py (Eqs. 9 and 10)
    mask = top_fraction_mask of importance(IG)                          attribution.py (Eq. 11)

Stages of the next cycle keep the masked weights, by FrozenWeights (masks.py).
"""
