"""Machines that nobody has measured, and the number of workers that suits them."""

from collections.abc import Mapping, Sequence

from cluster.schedule.slots import Host
from launch.config import Config
from launch.planning.cost import EstimateInputs, Machine, StepCost
from launch.planning.inputs import FORWARD_SHARE, GPU_FIXED_S, count_pages, model_facts, network_for
from launch.planning.recommend import recommend, workers_of_jobs
from launch.recipe.stages import plan_recipe
from trainer.network.facts import ModelFacts

ASSUMED = "assumed"
"""`--rate` of a machine that nobody has measured."""
ASSUMED_GPU = 1.07e12
"""Multiply-adds per second, counted forward, of a V100 that trains InceptionResNetV2 in float32 on 121 pages/s at
256 px (docs/scaling.md)."""
ASSUMED_CORE = 1.02e10
"""The same for a core that trains it on 6.3 pages/s at 128 px, as measured on two cores."""


def assumed_machine(models: Mapping[int, ModelFacts], *, gpus: bool, cores: int) -> Machine:
    """A V100 or, without GPUs, a host of `cores` cores, at a speed that is proportional to the multiply-adds."""
    speed, fixed_s = (ASSUMED_GPU, GPU_FIXED_S) if gpus else (ASSUMED_CORE, 0.0)
    steps = {
        px: StepCost(fixed_s, model.multiply_adds / speed, FORWARD_SHARE * model.multiply_adds / speed)
        for px, model in models.items()
    }
    text = f"assumed: {'a V100 in float32' if gpus else 'a core'}, {speed:.1e} multiply-adds/s forward"
    return Machine(speed=text, steps=steps, cores=0 if gpus else cores)


def recommended_workers(config: Config, hosts: Sequence[Host], *, gpus: bool) -> Mapping[str, int]:
    """The recommended number of workers by job on `hosts`, for the assumed speed; see `recommend`.

    Raises:
        UserError: pages cannot be counted, or the recipe cannot be planned.
    """
    recipe = plan_recipe(config)
    models = model_facts(config, recipe)
    inputs = EstimateInputs(
        pages=count_pages(config, None)[0],
        models=models,
        machine=assumed_machine(models, gpus=gpus, cores=max(host.slots for host in hosts)),
        network=network_for(config, gpus=gpus, intra_host_gbps=None, inter_host_gbps=None),
    )
    return workers_of_jobs(recipe, recommend(config, hosts, inputs=inputs))
