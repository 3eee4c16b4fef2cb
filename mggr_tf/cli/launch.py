"""`mggr-tf launch`."""

from __future__ import annotations

import click

from mggr_edge.errors import UsageError
from mggr_tf.cli.options import notify

_MISTAKE = 2


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of processes to start on this machine.",
)
@click.option(
    "--hosts",
    help="Print the command to run on each host, and start no process. Expects host:port of each "
    "worker, separated by commas.",
)
@click.option(
    "--gpus-each",
    type=click.IntRange(min=1),
    help="Number of GPUs of this machine to reserve for each process. Needs --workers.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def launch(
    workers: int | None, hosts: str | None, gpus_each: int | None, command: tuple[str, ...]
) -> None:
    """Train with several processes, on one machine or on several machines.

    \b
    Examples:
      mggr-tf launch --workers 2 -- train --stage joint --data patches/ --out runs/two
      mggr-tf launch --workers 2 -- train --stage joint --out runs/two --resume
      mggr-tf launch --hosts a:2222,b:2222 -- train --stage joint --data patches/ --out /nfs/two

    A worker is one of these processes. All workers share each batch. The training result is the
    same as with one process. Each line of output starts with the number of the worker.

    If a worker fails or is killed, all other workers are stopped. The exit code is the exit code of
    the first worker that ended. --resume continues from the newest checkpoint. Ctrl-C and SIGTERM
    are sent to all workers. The workers then save a checkpoint at the same step.
    """
    from mggr_tf.training.launch import as_worker, host_lines, run_workers

    if (workers is None) == (hosts is None):
        raise UsageError(
            "expected either --workers N (processes on this machine) or --hosts a:2222,b:2222 "
            f"(several machines), got {'neither' if hosts is None else 'both'}",
            code="workers-or-hosts",
            workers=workers,
            hosts=hosts,
        )
    as_told = as_worker(command)
    if hosts is not None:
        if gpus_each is not None:
            raise UsageError(
                f"--gpus-each {gpus_each} cannot be combined with --hosts; use --gpus-each with "
                "--workers",
                code="gpus-each-with-hosts",
                gpus_each=gpus_each,
            )
        for line in host_lines([host.strip() for host in hosts.split(",")], as_told):
            click.echo(line)
        return
    assert workers is not None
    ended = run_workers(
        as_told,
        workers=workers,
        gpus_each=gpus_each,
        tell=lambda index, line: notify(f"[{index}] {line}"),
    )
    if ended.first is not None:
        advice = "" if ended.code == _MISTAKE else ". Add --resume to the command to continue"
        notify(
            f"worker {ended.first} ended first, with code {ended.code}; the other workers were "
            f"stopped. The messages of this worker are above{advice}"
        )
        raise SystemExit(ended.code)
