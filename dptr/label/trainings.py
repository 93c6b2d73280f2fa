"""Trainings in the background, one at a time: ``dptr finetune`` on what is labeled, ``dptr adapt`` on a word list.

Each is a chain of programs: the words are exported, the training runs, its recognizer becomes one ONNX file, and what
it reads is compared with what was read before. Where the chain is stopped or cut off, it goes on from there.
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
from dptr.text.charset import normalize_label
from dptr.utils.errors import UserError
from dptr.utils.extras import require_extras
from dptr.utils.files import lock_folder, replace_file, write_json
from dptr.utils.outputs import lies_in
from dptr.weights import AUTO

MINUTES = 0.5, 10_000.0  # that a training may be given
WORDS = 20_000  # of a word list
COMMAND = sys.executable, "-m", "dptr.label.child"
INTERRUPTED = 130  # the exit code of ``dptr`` after a signal to stop, when what can be resumed is saved
_SHORT = 5.0  # minutes below which less is rendered, or nothing would be left of them
_SHORT_SETTINGS: dict[Kind, tuple[str, ...]] = {
    "finetune": ("forgetting.rendered=40", "run.save_every=10", "run.log_every=5"),
    "adapt": ("domain_crops=1500", "language_crops=1500", "run.save_every=10", "run.log_every=5"),
}
_LONG_SETTINGS: dict[Kind, tuple[str, ...]] = {
    "finetune": ("run.steps=1000000", "run.log_every=10"),
    "adapt": ("run.steps=1000000", "run.log_every=10"),
}
_LOSS: dict[Kind, str] = {"finetune": "forgetting.max_loss", "adapt": "max_accuracy_loss"}
_SHORT_LOSS = 0.1  # of word accuracy on other crops, which are few then: 4 of 40
_LONG = 30.0  # minutes from which on the clock alone ends a training


class Trainings:
    """The trainings of a set."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def busy(self) -> int | None:
        """The number of the run that goes on, if one does."""
        if self._thread is None or not self._thread.is_alive():
            return None
        return int(self._thread.name)

    def runs(self) -> list[Run]:
        """All runs, the last one first. A run that was cut off, by a kill or a power cut, is a stopped one."""
        with self._lock:  # nobody begins one meanwhile
            runs = list_runs(self._store.folder)
            if all(run.phase not in BUSY or run.number == self.busy for run in runs):
                return runs
            try:
                with lock_folder(self._store.folder / RUNS):
                    return [
                        run if run.phase not in BUSY else run.write(phase="stopped", spent=read_spent(run))
                        for run in runs
                    ]
            except UserError:  # one goes on, in this program or another one's
                return runs

    def get(self, number: int) -> Run:
        """A run.

        Raises:
            UserError: there is none of this number.
        """
        found = next((run for run in self.runs() if run.number == number), None)
        if found is None:
            raise UserError(f"run {number}: not in {self._store.folder}; load the page again")
        return found

    def start(
        self, kind: Kind, reader: Reader, minutes: float, words: Sequence[str] = (), may_forget: bool = False
    ) -> Run:
        """Begin a training.

        Args:
            reader: what it starts from, and is compared with.
            words: to learn, for ``adapt``.
            may_forget: whether a state is kept that reads less of other words.

        Raises:
            UserError: another one runs, packages are missing, the recognizer cannot be trained further, or the values
                cannot be.
        """
        require_extras("training", "train", "export")
        base = self.base_of(reader)
        if not MINUTES[0] <= minutes <= MINUTES[1]:
            raise UserError(f"{minutes:g} minutes: pass {MINUTES[0]:g} to {MINUTES[1]:g}")
        listed = list(dict.fromkeys(word for each in words if (word := normalize_label(each))))
        if kind == "adapt" and not 0 < len(listed) <= WORDS:
            raise UserError(f"{len(listed)} words: pass 1 to {WORDS:,}, one a line")
        if kind == "finetune" and sum(self._store.counts()[state] for state in ACCEPTED) < 2:
            raise UserError("less than two labeled words: one is held out, so two are needed; label more")
        settings: tuple[str, ...] = (f"run.seconds={60 * minutes:g}",)
        settings += _SHORT_SETTINGS[kind] if minutes < _SHORT else ()
        settings += _LONG_SETTINGS[kind] if minutes >= _LONG else ()
        loss = 1.0 if may_forget else _SHORT_LOSS if minutes < _SHORT else None
        settings += () if loss is None else (f"{_LOSS[kind]}={loss:g}",)
        with self._lock:
            self._check_free()
            self.runs()  # those that were cut off are told apart from this one
            folder = new_folder(self._store.folder)
            run = Run(folder, int(folder.name), kind, base, name_of(reader), minutes, settings).write()
            if listed:
                with replace_file(run.words) as aside:
                    aside.write_text("\n".join(listed) + "\n", encoding="utf-8")
            self._begin(run, reader)
        return run

    def resume(self, number: int) -> Run:
        """Go on with a run that was stopped, cut off, or failed.

        Raises:
            UserError: another one runs, it is done, or what it started from is gone.
        """
        run = self.get(number)
        if run.phase not in ("stopped", "failed"):
            raise UserError(f"run {number}: it is {run.phase}; only one that was stopped can go on")
        require_extras("training", "train", "export")
        inside = lies_in(run.base, self._store.folder / RUNS)  # then it is runs/N/train/model
        opened = Reader(open_run(Path(run.base).parent.parent).exported if inside else run.base)
        with self._lock:
            self._check_free()
            run = run.write(phase="preparing", error="", spent=read_spent(run))
            self._begin(run, opened)
        return run

    def stop(self) -> None:
        """Stop the run that goes on; its state is saved, and it can be resumed."""
        self._stopping = True
        self._end_child()

    def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def base_of(self, reader: Reader) -> str:
        """What a training can start from to go on with a recognizer.

        Raises:
            UserError: it is an exported file of which the folder is not known, or several recognizers.
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
        """Start the thread; the lock is held."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, args=(run, reader), name=str(run.number), daemon=True)
        self._thread.start()

    def _work(self, run: Run, reader: Reader) -> None:
        try:
            with lock_folder(run.folder.parent):  # of another server too
                self._follow(run, reader)
        except UserError as error:
            with suppress(UserError):  # a full disk cannot say so on itself
                open_run(run.folder).write(phase="failed", error=" ".join(str(error).split()))

    def _follow(self, run: Run, reader: Reader) -> None:
        """The chain, from where it is."""
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
            after = Reader(run.exported, batch_size=reader.batch_size)
            write_json(run.compared, compare(reader, after, run.crops, run.share).to_dict())
        run.write(phase="done")

    def _prepare(self, run: Run) -> Run:
        """Export what is labeled. A word list needs none of it: then it is only compared, if somebody labeled some."""
        states: tuple[State, ...] = ACCEPTED if run.kind == "finetune" else ("labeled",)
        if run.kind == "adapt" and not self._store.counts()["labeled"]:
            return run
        export_crops(self._store, run.crops, DropReport(), states)
        if run.kind == "adapt":
            return run
        share = hold_out(run.crops)
        return run.write(share=share, settings=(*run.settings, f"data.validation_share={share!r}"))

    def _call(self, run: Run, arguments: Sequence[str]) -> None:
        """Run a command to its end; one that a signal stopped stops the chain.

        Raises:
            UserError: it failed, with what it said last.
        """
        with open(run.said, "ab") as said:
            # In a group of its own, or Ctrl-C at a terminal reaches it too, and a second one as input closes ends it
            # unsaved. Not in a session of its own: where Linux schedules by sessions, os.nice counts within one alone.
            self._child = subprocess.Popen(
                [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=said, stderr=said, process_group=0
            )
        if self._stopping:  # meanwhile
            self._end_child()
        code = self._child.wait()
        self._end_child()
        self._stopping |= code == INTERRUPTED  # a signal to all processes reached it before this program said so
        if code and not self._stopping:
            lines = run.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1].removeprefix("dptr: error: ") if lines else f"exit code {code}"
            raise UserError(f"dptr {arguments[0]}: {last}")

    def _end_child(self) -> None:
        child = self._child
        if child is not None and child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()


def name_of(reader: Reader) -> str:
    """What people call a recognizer: of a file or a folder, what its card says."""
    return str(reader.card.get("name") or Path(reader.name).name)
