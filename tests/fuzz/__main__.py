"""Coverage-guided fuzzing of everything that reads bytes it cannot trust: `python -m tests.fuzz --seconds 600`.

See `docs/fuzzing.md`. First the canary: a target that breaks its promise for one input in 2^48, which an engine that
follows coverage finds in seconds. If it is not found, nothing that follows would mean anything.

Ends with status 1 when something was found, and prints how to see it again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import inputs
from tests.fuzz.build import BUILD, ROOT, Compiler, build, environment, find_compiler
from tests.fuzz.report import Report, as_command, excerpt, read_log, table

TARGETS = (
    "frame", "message", "handshake", "roster", "core", "resp", "redis", "log", "history", "snapshot", "command", "dump",
)  # fmt: skip
CANARY = "canary"
CANARY_SECONDS = 60
MEMORY_MIB = 2048
SECONDS_OF_ONE_INPUT = 10
FINDINGS = BUILD / "findings"
LOGS = BUILD / "logs"


def work(compiler: Compiler, target: str, arguments: list[str]) -> tuple[int, str]:
    """Run the worker to its end: (status, all that it printed)."""
    command = [
        sys.executable, "-m", "tests.fuzz.worker", target,
        f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={SECONDS_OF_ONE_INPUT}", *arguments,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        env=environment(compiler),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


def fuzz(compiler: Compiler, target: str, seconds: int, seed: int) -> Report:
    for folder in (FINDINGS, LOGS, inputs.FOUND / target):
        folder.mkdir(parents=True, exist_ok=True)
    status, output = work(
        compiler,
        target,
        [
            f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1",
            f"-artifact_prefix={FINDINGS / target}-", str(inputs.FOUND / target), str(inputs.KEPT / target),
        ],
    )  # fmt: skip
    (LOGS / f"{target}.log").write_text(output)
    report = read_log(target, output, status)
    outcome = report.finding or "nothing found"
    print(f"{target}: {report.edges} edges, {report.executions} executions, {outcome}", flush=True)
    if not report.ok:
        tell(report, output)
    return report


def tell(report: Report, output: str) -> None:
    """Write down what was found, and how to see it again, also where only what was printed is left."""
    print(excerpt(output))
    lines = [f"found: {report.finding}", f"output: {LOGS / (report.target + '.log')}"]
    if report.artifact is not None:
        artifact = Path(os.path.relpath(report.artifact, ROOT))  # as it is called in any checkout
        lines += [
            f"input: {report.artifact}",
            f"again: make fuzz TARGET={report.target} FUZZ_INPUT={artifact}",
            f"for good: copy it to {inputs.KEPT / report.target}, where every test run replays it",
        ]
        report.artifact.with_suffix(".txt").write_text("\n".join(lines) + "\n")
        lines.append(f"on another machine, first: {as_command(report.artifact.read_bytes(), artifact)}")
    print("\n".join(lines), flush=True)


def canary_is_found(compiler: Compiler) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        status, output = work(
            compiler, CANARY, [f"-max_total_time={CANARY_SECONDS}", "-seed=1", f"-artifact_prefix={folder}/"]
        )
    report = read_log(CANARY, output, status)
    if report.finding == "the canary sings":
        print(f"the canary was found after {report.executions} executions", flush=True)
        return True
    print(f"{output}\nthe canary was not found: nothing would be", flush=True)
    return False


def keep_what_counts(compiler: Compiler, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # libFuzzer's own outer part would start itself again, by a command that it does not know
        control = Path(folder, "control")
        control.write_text(inputs.control_of(target))
        status, output = work(compiler, target, ["-merge_inner=1", f"-merge_control_file={control}"])
        chosen = inputs.cover(control.read_text())
        if status != 0 or not chosen:
            raise SystemExit(f"{output}\nthe corpus of {target} could not be merged")
        print(f"{target}: {inputs.keep(target, chosen)} kept besides the seeds", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--total", type=int, help="seconds for all of them, in place of --seconds")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1); 0: as many as there are processors")
    parser.add_argument("--seed", type=int, default=0, help="of the engine; 0 draws one")
    parser.add_argument("--input", type=Path, help="run this input alone, with everything that is printed")
    parser.add_argument("--keep", action="store_true", help="keep in the repository what reaches more")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    targets = options.target or list(TARGETS)
    compiler = find_compiler()
    build(compiler)
    if options.input is not None:
        if len(targets) != 1:
            raise SystemExit("an input is for one target: --target NAME")
        status, output = work(compiler, targets[0], [str(options.input.resolve())])
        print(output)
        return status
    if not canary_is_found(compiler):
        return 1
    jobs = min(options.jobs or len(os.sched_getaffinity(0)), len(targets))
    seconds = options.seconds if options.total is None else max(options.total * jobs // len(targets), 1)
    with ThreadPoolExecutor(jobs) as pool:
        reports = list(pool.map(lambda target: fuzz(compiler, target, seconds, options.seed), targets))
    print(table(reports), flush=True)
    if options.keep:
        for report in reports:
            if report.ok:
                keep_what_counts(compiler, report.target)
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
