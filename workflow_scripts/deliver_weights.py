"""The weights of a finished run as users load them: one safetensors file, how it was made in its header.

In: the run's last snapshot; the journals of its stages and the summaries of its attributions, for the time
they took. Out: the weights (their moving average where the run kept one), and a JSON summary (parameters,
steps, device_seconds, precision, device, ema).
"""

from typing import Any

from bspa.system.log import run_job
from bspa.training.deliver import deliver


def main(snakemake: Any) -> None:
    deliver(
        snapshot=snakemake.input.snapshot,
        journals=snakemake.input.journals,
        attributions=snakemake.input.attributions,
        weights=snakemake.output.weights,
        summary=snakemake.output.summary,
        key=snakemake.params.key,
        **snakemake.params.settings,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
