"""
A Celery application with one task, over a broker of plain files.
"""

from pathlib import Path

from billiard import current_process
from calls import call as call_provider
from celery import Celery

_FILES = {name: str(Path("broker").absolute()) for name in ("data_folder_in", "data_folder_out")}
for folder in ("broker", "done"):
    Path(folder).mkdir(exist_ok=True)

app = Celery(broker="filesystem://")
app.conf.update(
    broker_transport_options=_FILES | {"control_folder": str(Path("control").absolute()), "polling_interval": 0.05},
    worker_hijack_root_logger=False,
    task_ignore_result=True,
)


@app.task
def call(name):
    call_provider(name)
    Path("done", name).write_text(current_process().name)
