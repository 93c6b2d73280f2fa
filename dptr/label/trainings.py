"""Runs trainings in the background, one at a time: ``dptr finetune`` on labeled words, ``dptr adapt`` on a word list.

A run has four steps: export the labeled words, train, export the trained recognizer to an ONNX file, and compare it
with the recognizer that the training started from. A run that was stopped or interrupted resumes at the step where it
ended.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dptr.data.report import DropReport
from dptr.inference.reader import Reader
from dptr.label.compare import compare, hold_out
from dptr.label.curves import read_spent
from dptr.label.export import export_crops
from dptr.label.item import ACCEPTED, State
from dptr.label.run import BUSY, RUNS, Kind, Run, list_runs, new_folder, open_run
from dptr.label.store import Store
from dptr.utils.errors import UserError
from dptr.utils.extras import require_extras
from dptr.utils.files import lock_folder, replace_file, write_json
from dptr.utils.outputs import lies_in
from dptr.weights import AUTO

MINUTES = 0.5, 10_000.0  # the shortest and the longest time limit of a training
WORDS = 20_000  # words in a word list, at most
COMMAND = sys.executable, "-m", "dptr.label.child"
INTERRUPTED = 130  # exit code of ``dptr`` when a signal stopped it and its state is saved
_SHORT = 5.0  # minutes; shorter trainings render fewer crops, because rendering would take all their time
_SHORT_SETTINGS: dict[Kind, tuple[str, ...]] = {
    "finetune": ("forgetting.rendered=40", "run.save_every=10", "run.log_every=5"),
    "adapt": ("domain_crops=1500", "language_crops=1500", "run.save_every=10", "run.log_every=5"),
}
_LONG_SETTINGS: dict[Kind, tuple[str, ...]] = {
    "finetune": ("run.steps=1000000", "run.log_every=10"),
    "adapt": ("run.steps=1000000", "run.log_every=10"),
}
_MAX_LOSS: dict[Kind, str] = {"finetune": "forgetting.max_loss", "adapt": "max_accuracy_loss"}
_SHORT_MAX_LOSS = 0.1  # of word accuracy on other crops; a short training renders few of these, and 0.1 is 4 of 40
_LONG = 30.0  # minutes; the time limit alone, and not the number of steps, ends longer trainings


class Trainings:
    """The trainings of a label set.

    Args:
        store: the label set.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def busy(self) -> int | None:
        """The number of the run in progress; None if there is none."""
        if self._thread is None or not self._thread.is_alive():
            return None
        return int(self._thread.name)

    def runs(self) -> list[Run]:
        """All runs, newest first. A run that a kill or a power failure interrupted is marked as stopped."""
        with self._lock:  # no run starts meanwhile
            runs = list_runs(self._store.folder)
            if all(run.phase not in BUSY or run.number == self.busy for run in runs):
                return runs
            try:
                with lock_folder(self._store.folder / RUNS):
                    return [
                        run if run.phase not in BUSY else run.write(phase="stopped", spent=read_spent(run))
                        for run in runs
                    ]
            except UserError:  # a run is in progress, in this process or in another one
                return runs

    def get(self, number: int) -> Run:
        """The run with a number.

        Raises:
            UserError: there is no such run.
        """
        match = next((run for run in self.runs() if run.number == number), None)
        if match is None:
            raise UserError(f"run {number}: not in {self._store.folder}; load the page again")
        return match

    def start(
        self, kind: Kind, reader: Reader, minutes: float, words: Sequence[str] = (), may_forget: bool = False
    ) -> Run:
        """Start a training in the background.

        Args:
            kind: the ``dptr`` command that trains.
            reader: the recognizer that the training starts from, and that the result is compared with.
            minutes: the time limit, within ``MINUTES``.
            words: the words to learn, for ``adapt``; or texts with spaces, which are split if the recognizer writes no
                spaces.
            may_forget: whether the training may keep a state that reads other words less accurately than before,
                without a limit on the loss.

        Returns:
            The new run.

        Raises:
            UserError: another run is in progress, packages are missing, the recognizer cannot be trained further, or an
                argument is out of range.
        """
        require_extras("training", "train", "export")
        base = self.base_of(reader)
        if not MINUTES[0] <= minutes <= MINUTES[1]:
            raise UserError(f"{minutes:g} minutes: pass {MINUTES[0]:g} to {MINUTES[1]:g}")
        charset = reader.tokenizer.charset
        texts = words if charset.spaced else [word for each in words for word in each.split()]
        unique_words = list(dict.fromkeys(text for each in texts if (text := charset.normalize(each))))
        if kind == "adapt" and not 0 < len(unique_words) <= WORDS:
            raise UserError(f"{len(unique_words)} words: pass 1 to {WORDS:,}, one a line")
        if kind == "finetune" and sum(self._store.counts()[state] for state in ACCEPTED) < 2:
            raise UserError("less than two labeled words: one is held out, so two are needed; label more")
        settings: tuple[str, ...] = (f"run.seconds={60 * minutes:g}",)
        settings += _SHORT_SETTINGS[kind] if minutes < _SHORT else ()
        settings += _LONG_SETTINGS[kind] if minutes >= _LONG else ()
        max_loss = 1.0 if may_forget else _SHORT_MAX_LOSS if minutes < _SHORT else None
        settings += () if max_loss is None else (f"{_MAX_LOSS[kind]}={max_loss:g}",)
        with self._lock:
            self._check_free()
            self.runs()  # marks interrupted runs as stopped before a new one exists
            folder = new_folder(self._store.folder)
            run = Run(folder, int(folder.name), kind, base, name_of(reader), minutes, settings).write()
            if unique_words:
                with replace_file(run.words) as temporary:
                    temporary.write_text("\n".join(unique_words) + "\n", encoding="utf-8")
            self._begin(run, reader)
        return run

    def resume(self, number: int) -> Run:
        """Resume a run that was stopped, was interrupted, or failed.

        Raises:
            UserError: there is no such run, it is done or in progress, another run is in progress, packages are
                missing, or the recognizer that it started from is gone.
        """
        run = self.get(number)
        if run.phase not in ("stopped", "failed"):
            raise UserError(f"run {number}: it is {run.phase}; only one that was stopped can go on")
        require_extras("training", "train", "export")
        is_trained_here = lies_in(run.base, self._store.folder / RUNS)  # then the base is runs/N/train/model
        reader = Reader(open_run(Path(run.base).parent.parent).exported if is_trained_here else run.base)
        with self._lock:
            self._check_free()
            run = run.write(phase="preparing", error="", spent=read_spent(run))
            self._begin(run, reader)
        return run

    def stop(self) -> None:
        """Stop the run in progress. It saves its state and can be resumed. The call does not wait for its end."""
        self._stopping = True
        self._end_child()

    def close(self) -> None:
        """Stop the run in progress, and wait until it has ended."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def base_of(self, reader: Reader) -> str:
        """The shipped name or the folder from which a training can continue a recognizer.

        Raises:
            UserError: the reader combines several recognizers (``AUTO``), or is an exported file that no run of this
                label set made: then the folder of its weights is unknown.
        """
        if reader.name == AUTO:
            raise UserError(
                f"language '{AUTO}': a training goes on with one recognizer; stop, and run dptr label again with the "
                "--lang or --model of that one"
            )
        path = Path(reader.name)
        if path.suffix != ".onnx":
            return reader.name if not path.is_dir() else str(path.resolve())
        if lies_in(path, self._store.folder / RUNS):
            return str(open_run(path.parent).train / "model")
        raise UserError(
            f"model '{reader.name}': an exported file cannot be trained; pass the folder that it came from as --model"
        )

    def _check_free(self) -> None:
        if self.busy is not None:
            raise UserError(f"run {self.busy} goes on; stop it, or wait for its end")

    def _begin(self, run: Run, reader: Reader) -> None:
        """Start the thread of a run. The caller holds the lock."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run_thread, args=(run, reader), name=str(run.number), daemon=True)
        self._thread.start()

    def _run_thread(self, run: Run, reader: Reader) -> None:
        """Execute a run; an error becomes its phase ``failed``."""
        try:
            with lock_folder(run.folder.parent):  # also excludes other servers
                self._execute(run, reader)
        except UserError as error:
            with suppress(UserError):  # on a full disk the error itself cannot be written
                open_run(run.folder).write(phase="failed", error=" ".join(str(error).split()))

    def _execute(self, run: Run, reader: Reader) -> None:
        """Execute the steps of a run that are not done yet."""
        if not run.crops.exists() or (run.kind == "finetune" and not run.share):
            run = self._prepare(run)
        if not self._stopping:
            run = run.write(phase="training")
            self._call(run, run.arguments())
        if not self._stopping:
            run = run.write(phase="exporting")
            model = str(run.train / "model")
            self._call(run, ["export", "--model", model, "--out", str(run.exported), "--crops", "32"])
        if self._stopping:
            run.write(phase="stopped", spent=read_spent(run))
            return
        run = run.write(phase="comparing")
        if run.crops.exists():
            after = Reader.of(run.exported, reader.options)
            write_json(run.compared, compare(reader, after, run.crops, run.share).to_dict())
        run.write(phase="done")

    def _prepare(self, run: Run) -> Run:
        """Export the labeled crops.

        ``adapt`` does not train on them. It exports only words that a person labeled, for the comparison, and nothing
        if there are none.
        """
        states: tuple[State, ...] = ACCEPTED if run.kind == "finetune" else ("labeled",)
        if run.kind == "adapt" and not self._store.counts()["labeled"]:
            return run
        export_crops(self._store, run.crops, DropReport(), states)
        if run.kind == "adapt":
            return run
        share = hold_out(run.crops)
        return run.write(share=share, settings=(*run.settings, f"data.validation_share={share!r}"))

    def _call(self, run: Run, arguments: Sequence[str]) -> None:
        """Run a ``dptr`` command, and wait until it has ended. If a signal stopped it, stop the run.

        Args:
            arguments: the command line after ``dptr``.

        Raises:
            UserError: the command failed; the message quotes the last line of its output.
        """
        with open(run.said, "ab") as output:
            # The child gets its own process group. Otherwise Ctrl-C at a terminal would reach it too; when its input
            # closes, it would get a second one, and end without saving. It stays in the session: with Linux's automatic
            # grouping of processes by session, os.nice has an effect only within a session.
            self._child = subprocess.Popen(
                [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=output, stderr=output, process_group=0
            )
        if self._stopping:  # stop() was called before the child existed
            self._end_child()
        code = self._child.wait()
        self._end_child()
        self._stopping |= code == INTERRUPTED  # a signal to all processes can reach the child before a call of stop()
        if code and not self._stopping:
            lines = run.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1].removeprefix("dptr: error: ") if lines else f"exit code {code}"
            raise UserError(f"dptr {arguments[0]}: {last}")

    def _end_child(self) -> None:
        """Close the child's standard input, on which it stops (``dptr.label.child``)."""
        child = self._child
        if child is not None and child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()


def name_of(reader: Reader) -> str:
    """The display name of a recognizer: the name in its model card, otherwise the last part of its path."""
    return str(reader.card.get("name") or Path(reader.name).name)
