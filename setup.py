"""Put the workflow's own files into the wheel: an installed package can run it (bspa/cli/init.py)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

WORKFLOW = [
    "Snakefile",
    "config.yaml",
    "configs",
    "envs",
    "profiles",
    "report",
    "rules",
    "schemas",
    "workflow_scripts",
]


class BuildWithWorkflow(build_py):
    """Copies the workflow to bspa/workflow; an editable installation uses the checkout."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return
        for name in WORKFLOW:
            source, target = Path(name), Path(self.build_lib, "bspa", "workflow", name)
            if source.is_dir():
                shutil.copytree(
                    source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


setup(cmdclass={"build_py": BuildWithWorkflow})
