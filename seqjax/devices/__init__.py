"""Where arrays live: meshes of local devices, the batch over them, memory that is used again.

Nothing here knows what is computed.
"""

from seqjax.devices.memory import reuse_freed_memory
from seqjax.devices.mesh import batch_mesh, over_batch, replicate, split_batch, use_cpu_devices

__all__ = [
    "batch_mesh",
    "over_batch",
    "replicate",
    "reuse_freed_memory",
    "split_batch",
    "use_cpu_devices",
]
