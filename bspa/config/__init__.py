"""What the Snakefile and the rules use of the package: settings, the plan of stages, code digests.

Nothing here imports torch or numpy: it runs each time the DAG is built.
"""

from bspa.config.code import code_digest
from bspa.config.load import load_config, typed
from bspa.config.plan import Cycle, Phase, plan_cycles
from bspa.config.schema import Config
from bspa.metrics.catalogue import lpips_available
from bspa.system.locks import hold

__all__ = [
    "Config",
    "Cycle",
    "Phase",
    "code_digest",
    "hold",
    "load_config",
    "lpips_available",
    "plan_cycles",
    "typed",
]
