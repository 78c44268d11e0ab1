"""Jobs: graphs of tasks that run for somebody, on a schedule or on demand."""

from lakewright.jobs import dispatcher, jobs, retention, runs, schedules, system_tables, values
from lakewright.jobs.sources import KeptSources, Sources
from lakewright.kernel.platform import Platform

__all__ = ["dispatcher", "install", "jobs", "retention", "runs", "schedules", "system_tables", "values"]


def install(platform: Platform) -> None:
    """Processes of this machine run the tasks; the warm environment starts with the first of them."""
    from lakewright.engines.local import Environment, LocalLauncher
    from lakewright.engines.processes import Launcher

    home, preload = platform.settings.data_dir.absolute(), platform.settings.jobs.preload
    warm = Environment() if preload is None else Environment(preload=tuple(preload))
    launcher = LocalLauncher(home / "attempts", {"default": warm})
    platform.provide(launcher, as_type=Launcher)
    platform.closes(launcher.close)
    platform.provide(KeptSources(), as_type=Sources)
    platform.provide(dispatcher.Dispatcher(platform, launcher, home / "tasks"))
