"""All commands in one place. Modules that need numpy, pandas or kubernetes are imported by the command that runs."""

from __future__ import annotations

import typer

from selfheal.cli import collecting, deciding, doctor, looking, models, namespaces, running
from selfheal.cli.output import Json, emit

app = typer.Typer(
    name="selfheal",
    help="Detects, fixes and proves fixes of failing workloads.\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use, 3 nothing to do or no data.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: reads the same in a terminal, a pipe and kubectl
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
metrics = typer.Typer(
    help="What Prometheus has of the catalogue's 23 metrics.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(metrics, name="metrics")
registered = typer.Typer(
    help="The registered models, and which is in service.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(registered, name="models")

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}

EXAMPLES = {
    "probe": (
        "selfheal metrics probe --prometheus http://localhost:9090",
        "selfheal metrics probe --prometheus https://thanos-querier.openshift-monitoring.svc:9091 \\",
        "  --token-file /var/run/secrets/kubernetes.io/serviceaccount/token --ca-file service-ca.crt --json",
    ),
    "collect": (
        "selfheal collect --prometheus http://localhost:9090 --out ./windows",
        "selfheal collect --prometheus http://localhost:9090 --out ./shop --namespace shop --hours 48",
    ),
    "train": (
        "selfheal train --prometheus http://localhost:9090",
        "selfheal train --prometheus http://localhost:9090 --namespaces shop --hours 48 \\",
        "  --tracking-uri sqlite:////data/mlflow.db",
    ),
    "list": (
        "selfheal models list --tracking-uri sqlite:////data/mlflow.db",
        "SELFHEAL_TRACKING_URI=https://mlflow.example.com selfheal models list --json",
    ),
    "show": ("selfheal models show 7 --tracking-uri sqlite:////data/mlflow.db",),
    "promote": (
        "selfheal models promote 7 --tracking-uri sqlite:////data/mlflow.db",
        "selfheal models promote 7 --anyway --tracking-uri https://mlflow.example.com",
    ),
    "rollback": ("selfheal models rollback --tracking-uri sqlite:////data/mlflow.db",),
    "serve": (
        "selfheal serve --model-uri models:/selfheal-ensemble@champion --tracking-uri sqlite:////data/mlflow.db",
        "selfheal serve --model-dir ./model --port 8080",
    ),
    "backtest": (
        "selfheal backtest SERIES.parquet --out SCORES.parquet",
        "selfheal backtest SERIES.parquet --out SCORES.parquet --seed 1",
    ),
    "enable": (
        "selfheal enable shop",
        "selfheal enable shop --dry-run --json",
    ),
    "disable": (
        "selfheal disable shop",
        "selfheal disable shop --dry-run",
    ),
    "approve": (
        "selfheal approve rem-0123456789abcdef0123",
        'selfheal approve shop/rem-0123456789abcdef0123 --reason "the new image is broken"',
    ),
    "deny": (
        'selfheal deny rem-0123456789abcdef0123 --reason "we are debugging it"',
        "selfheal deny rem-0123456789abcdef0123 -n shop --json",
    ),
    "undo": (
        "selfheal undo shop/rem-0123456789abcdef0123",
        "selfheal undo rem-0123456789abcdef0123 --dry-run --json",
    ),
    "suspend": (
        "selfheal suspend",
        "selfheal suspend --dry-run",
    ),
    "resume": (
        "selfheal resume",
        "selfheal resume --json",
    ),
    "status": (
        "selfheal status",
        "selfheal status -n shop --last 3 --json",
    ),
    "doctor": (
        "selfheal doctor",
        "selfheal doctor --prometheus http://localhost:9090 --endpoint http://localhost:8080 --json",
    ),
    "version": (
        "selfheal version",
        "selfheal version --json",
    ),
}


def _examples(command: str) -> str:
    """As click prints them: the first line keeps it from joining the others."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[command])


metrics.command("probe", epilog=_examples("probe"))(collecting.probe)
app.command("collect", epilog=_examples("collect"))(collecting.collect)
registered.command("list", epilog=_examples("list"))(models.listed)
registered.command("show", epilog=_examples("show"))(models.show)
registered.command("promote", epilog=_examples("promote"))(models.promote)
registered.command("rollback", epilog=_examples("rollback"))(models.rollback)
for name, run in (("train", running.train), ("serve", running.serve), ("backtest", running.backtest)):
    app.command(name, epilog=_examples(name), context_settings=PASS_THROUGH)(run)
app.command("enable", epilog=_examples("enable"))(namespaces.enable)
app.command("disable", epilog=_examples("disable"))(namespaces.disable)
for name, decided in (("approve", deciding.approve), ("deny", deciding.deny)):
    app.command(name, epilog=_examples(name))(decided)
app.command("undo", epilog=_examples("undo"))(deciding.undo)
for name, switch in (("suspend", deciding.suspend), ("resume", deciding.resume)):
    app.command(name, epilog=_examples(name))(switch)
app.command("status", epilog=_examples("status"))(looking.status)
app.command("doctor", epilog=_examples("doctor"))(doctor.doctor)


@app.command("version", epilog=_examples("version"))
def version(as_json: Json = False) -> None:
    """Say which version this is."""
    from selfheal import __version__
    from selfheal.policy import API_VERSION

    emit({"version": __version__, "api": API_VERSION}, f"selfheal {__version__} ({API_VERSION})", as_json=as_json)
