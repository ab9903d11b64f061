"""What the Snakefile imports: settings, their check, and the plan. Nothing here loads torch or numpy."""
