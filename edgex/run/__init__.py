"""``edgex run``: from a model to the gate's verdict, doing again only what has changed."""

from edgex.pipeline.stages import Stage
from edgex.run.recipe import Recipe
from edgex.run.running import RunReport, run

__all__ = ["Recipe", "RunReport", "Stage", "run"]
