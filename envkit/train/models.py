"""Where a model comes from: `tiny`, made here from a seed, or any local Hugging Face folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envkit.errors import MissingError, UsageError

if TYPE_CHECKING:
    import torch

TINY = "tiny"
DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its tokenizer, on its device."""

    name: str
    model: Any  # a transformers causal language model
    tokenizer: Any  # a fast tokenizer with a chat template

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.model.device  # type: ignore[no-any-return]

    @property
    def parameters(self) -> int:
        """How many numbers it has, tied ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def describe(self) -> dict[str, Any]:
        """What a record keeps of it."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return {"model": self.name, "parameters": self.parameters, "dtype": dtype}

    def save(self, folder: Path) -> None:
        """Write it as a folder that `--model` and `hf:` take."""
        with _quietly():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def load(
    name: str,
    *,
    seed: int = 0,
    texts: Iterable[str] = (),
    device: str = "auto",
    dtype: str = "auto",
) -> Loaded:
    """The model that `--model` names.

    Args:
        name: `tiny`, or a folder of weights, configuration and tokenizer; nothing is downloaded
        seed: of the weights of `tiny`
        texts: what `tiny` will read and write (prompts, tool names): it learns its vocabulary from them
        device: `auto` is CUDA where there is one
        dtype: `auto` is bfloat16 on CUDA, else float32

    Raises MissingError without torch and transformers, UsageError for a folder that holds no such model.
    """
    try:
        import torch
        import transformers  # noqa: F401 - so that what is missing is said here
    except ImportError as error:
        raise MissingError(f"a model needs {error.name}: pip install 'envkit[train]'") from None
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r}: there are {', '.join(DTYPES)}")
    place = _device(device)
    kind = (
        torch.bfloat16
        if dtype == "bfloat16" or (dtype == "auto" and place.type == "cuda")
        else torch.float32
    )
    if name == TINY:
        from envkit.train.tiny import tiny

        model, tokenizer = tiny(seed, texts)
    else:
        model, tokenizer = _from_folder(Path(name), kind)
    return Loaded(name, model.to(device=place, dtype=kind).eval(), tokenizer)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):  # torch without CUDA asserts
        raise UsageError(f"device {name!r}: torch has no such device here") from None


def _from_folder(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder; --model takes `tiny` or a local Hugging Face folder"
        )
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder}: no config.json in it; it holds no Hugging Face model")
    try:
        with _quietly():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            made: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                dtype=dtype,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
    except (Exception, SystemExit) as error:  # the folder's files may make it raise anything
        said = " ".join(str(error).split())
        raise UsageError(f"{folder}: not loaded: {type(error).__name__}: {said[:300]}") from error
    model, report = made
    if lost := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise UsageError(
            f"{folder}: its weights lack what its config.json asks for: {lost[0]} and {len(lost) - 1} more"
        )
    _refuse(folder, tokenizer, model.config.get_text_config().vocab_size)
    return model, tokenizer


def _refuse(folder: Path, tokenizer: Any, vocabulary: int) -> None:
    """Raise for a tokenizer that is of no use here. Without its files, transformers makes one up that reads nothing."""
    if not tokenizer.is_fast or not tokenizer("hello").input_ids:
        raise UsageError(f"{folder}: no fast tokenizer (tokenizer.json) in it")
    if len(tokenizer) > vocabulary:
        raise UsageError(
            f"{folder}: its tokenizer has {len(tokenizer):,} tokens and its model {vocabulary:,}"
        )
    if not tokenizer.chat_template:
        raise UsageError(f"{folder}: its tokenizer has no chat template; train an instruct model")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's own bars and reports: what is wrong is said in one line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
