"""A job as an object: what is stored of it, and who may do what with it."""

from pydantic import BaseModel

from lakewright.jobs.definition import Settings
from lakewright.kernel.kinds import Kind
from lakewright.kernel.roots import WORKSPACE


class Job(BaseModel):
    settings: Settings
    run_as: str
    """Id of the principal its runs act as."""
    authors: list[str] = []
    """Ids of all who ever wrote it: none of them may approve what its runs ask approval for."""


JOB = Kind("job", example=Job(settings=Settings(), run_as=""), under=WORKSPACE, ids="number", unique_names=False, also_called=("jobs",))  # fmt: skip
CAN_VIEW, CAN_MANAGE_RUN, CAN_MANAGE = JOB.levels("CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE")
SUBMITTED = Kind("submittedRun", example=Job(settings=Settings(), run_as=""), under=WORKSPACE, ids="number", unique_names=False)  # fmt: skip
"""A one-time run's definition: a job nobody saved. It carries the permissions of its run and is listed nowhere."""
SUBMITTED.levels("CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE")
