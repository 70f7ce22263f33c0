"""Settings of Hypothesis for a machine that may be busy with other things."""

from hypothesis import settings

settings.register_profile("reference", deadline=None)
settings.load_profile("reference")
