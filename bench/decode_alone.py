"""The reference of `bench/convert.py`: decode, resize and encode in a worker, and discard the result."""

from data_tools.conversion.shard_plan import ShardPlan, Work
from data_tools.conversion.shard_writer import encoded
from data_tools.documents.opencv import use_single_thread
from data_tools.documents.pixels import read_page
from data_tools.workers.child import Handler, Items


def open_worker(work: Work) -> Handler:
    """A handler of the shards of a conversion that returns the number of bytes that a conversion would write."""
    use_single_thread()

    def handle(task: ShardPlan, items: Items) -> int:
        size = 0
        for page_id, _ in task.pages:
            images = encoded(read_page(f"{work.root}/{page_id}", color=work.shards.color), task.regions, work)
            size += sum(map(len, images.values()))
        return size

    return handle
