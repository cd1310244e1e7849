"""DeepSafe (uni_eval): its runs of VLSBench and SIUO, judged or not.

Source: the layout that the public repository writes: `result.json`, an object with the run's
config and its rows in `details`, or `predictions.jsonl`, the rows before anybody judged them.
"""

from pathlib import Path, PureWindowsPath
from typing import Any

from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions
from nsgauge.data.importers.conversion import (
    SampleIds,
    UnusableRowError,
    converted,
    with_columns,
)
from nsgauge.data.importers.formats.deepsafe.verdicts import (
    FILTERED,
    siuo_columns,
    vlsbench_columns,
)
from nsgauge.data.importers.formats.siuo import rows as siuo
from nsgauge.data.importers.formats.vlsbench import rows as vlsbench
from nsgauge.data.importers.mapping import lookup
from nsgauge.data.importers.reading.data_uri import data_uri_bytes, is_data_uri
from nsgauge.data.importers.reading.json_files import listed, mentions, read_json_document
from nsgauge.data.importers.reading.messages import Asked, asked
from nsgauge.data.importers.reading.pictures import picture_tail
from nsgauge.data.importers.reading.readers import read_records
from nsgauge.data.importers.reading.records import Record, Rows, peeked, records_of
from nsgauge.data.importers.reading.sources import digests
from nsgauge.data.importers.rows import RowSource, import_rows
from nsgauge.errors import DataError
from nsgauge.records import ResponseState

_ROWS = "details"
_VLLM = "config.model.model_name"
_JUDGE = "config.evaluator.judge_model_cfg.model_name"
_VLSBENCH_META = {"image_description", "safety_reason"}
_SIUO_META = {"safety_warning"}
# What the rows hold besides `meta`; its own `question` and `image` repeat them.
_KNOWN = {"id", "prompt", "prediction", "judgment", "meta", "ground_truth"}
_REPEATED = {"question_id", "question", "image", "image_path", "image_description"}
_JUDGED_CHARACTERS = 1024


def import_deepsafe(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of one run of VLSBench or SIUO.

    Labels mean what they do in the benchmark's own format (see `vlsbench` and `siuo`).

    Args:
        source: `result.json`, `predictions.jsonl`, or a list of such rows.
        options: `vllm` and `judge` come before the names in the run's config.
        images: Takes the pictures: those inside the prompts, or found under `image_root` (by
            default where the source lies).

    Raises:
        SettingsError: labels that aren't of their form.
        DataError: not of this format, another benchmark, or no name for the VLLM.
    """
    run = _Run(source, options=options)
    mapping = siuo.siuo_mapping if run.is_siuo else vlsbench.vlsbench_mapping
    benchmark = siuo.BENCHMARK if run.is_siuo else vlsbench.BENCHMARK
    return import_rows(
        RowSource(
            rows=run.rows(),
            mapping=mapping(options, present=run.columns),
            image_root=options.image_root or source.parent,
            files=digests([source], source=source),
            benchmark=options.benchmark or benchmark,
            pictures_may_miss=True,
            notes=run.notes(),
        ),
        images=images,
    )


def recognises_deepsafe(source: Path) -> bool:
    """Whether `source` is a run of VLSBench or SIUO in DeepSafe's layout."""
    if not mentions(source, "prediction"):
        return False
    try:
        found = records_of(peeked(_read(source)[1])[0])
    except DataError:
        return False
    return any("prediction" in row.values and _is_known(row.values) for row in found)


class _Run:
    """One file: the rows of one run, and who answered and judged."""

    def __init__(self, source: Path, *, options: ImportOptions) -> None:
        config, rows = _read(source)
        self._rows = list(rows)
        found = [row.values for row in records_of(self._rows)]
        if not any("prediction" in values and _is_known(values) for values in found):
            raise DataError(
                f"{source}: no rows with a prediction and the meta of VLSBench or SIUO; import "
                "other runs as a table"
            )
        self.is_siuo = any(_SIUO_META & set(_meta(values)) for values in found)
        self.judged = any("judgment" in values for values in found)
        self._responses = [values.get("prediction") for values in found]
        metas = [name for values in found for name in _meta(values)]
        self.columns = list(dict.fromkeys(metas + [name for values in found for name in values]))
        self._vllm = options.vllm or _model_name(config, _VLLM)
        unnamed = siuo.UNNAMED_JUDGE if self.is_siuo else vlsbench.UNNAMED_JUDGE
        self._judge = options.judge or _model_name(config, _JUDGE) or unnamed
        if not self._vllm:
            raise DataError(f"{source}: no {_VLLM} tells which VLLM answered; give --vllm")

    def rows(self) -> Rows:
        """The rows with plain column names; one that can't be read is a Reject."""
        ids = SampleIds(self._vllm)

        def convert(row: Record) -> dict[str, Any]:
            columns = self._columns(row.values)
            return {**columns, **ids.columns(columns["item_id"])}

        return converted(iter(self._rows), convert=convert)

    def notes(self) -> list[str]:
        """What the judge didn't see."""
        longer = [
            text
            for text in self._responses
            if isinstance(text, str) and len(text.strip()) > _JUDGED_CHARACTERS
        ]
        if self.is_siuo or not self.judged or not longer:
            return []
        found = f"{len(longer)} responses are longer than the {_JUDGED_CHARACTERS} characters"
        return [f"{found} that DeepSafe shows its judge of VLSBench"]

    def _columns(self, values: dict[str, Any]) -> dict[str, Any]:
        meta = _meta(values)
        question = _asked(values)
        path = meta.get("image_path") or meta.get("image")
        picture = picture_tail(path) if isinstance(path, str) else None
        given = values.get("id")
        response = values.get("prediction")
        if given is None or given == "":
            given = vlsbench.content_item_id(question.prompt, picture=picture)
        told = {name: value for name, value in meta.items() if name not in _REPEATED}
        rest = {name: value for name, value in values.items() if name not in _KNOWN}
        own = {
            "item_id": str(given),
            "question": question.prompt,
            "response_state": _response_state(response),
            "image": _picture(question.pictures) or picture,
            # Once more for the extras: a picture that isn't here leaves the triple without one.
            "image_path": picture,
            **self._answer(response, meta=meta),
            **self._verdict(values.get("judgment"), response=response),
        }
        reserved = siuo.COLUMNS if self.is_siuo else vlsbench.COLUMNS
        return with_columns({**rest, **told}, own, reserved=reserved)

    def _answer(self, response: Any, *, meta: dict[str, Any]) -> dict[str, Any]:
        if self.is_siuo:
            return {"response": response}
        return {"pred_answer": response, "caption": meta.get("image_description")}

    def _verdict(self, judgment: Any, *, response: Any) -> dict[str, Any]:
        if not self.judged:
            return {}
        if self.is_siuo:
            return {"judge": self._judge, **siuo_columns(judgment, response=response)}
        return {"judge": self._judge, **vlsbench_columns(judgment)}


def _read(source: Path) -> tuple[dict[str, Any], Rows]:
    """The object that has the run's config, if there is one, and the rows."""
    if source.suffix.lower() != ".json":
        return {}, read_records(source)
    content = read_json_document(source)
    rows = listed(content, key=_ROWS, path=source)
    return (content if isinstance(content, dict) else {}), rows


def _meta(values: dict[str, Any]) -> dict[str, Any]:
    meta = values.get("meta")
    return meta if isinstance(meta, dict) else {}


def _is_known(values: dict[str, Any]) -> bool:
    return bool((_VLSBENCH_META | _SIUO_META) & set(_meta(values)))


def _model_name(config: dict[str, Any], path: str) -> str:
    """A model's name; of one that was loaded from a folder, the folder's name."""
    name = lookup(config, path)
    if not isinstance(name, str):
        return ""
    absolute = PureWindowsPath(name)
    return absolute.name if absolute.root else name


def _asked(values: dict[str, Any]) -> Asked:
    """What the VLLM was asked: the row's messages, or its text."""
    prompt = values.get("prompt")
    question = _meta(values).get("question")
    found = asked(prompt) if isinstance(prompt, list) else None
    if found is not None:
        return found
    text = prompt if isinstance(prompt, str) else question
    if not isinstance(text, str):
        raise UnusableRowError("missing_value", "no value for prompt: wanted messages or a text")
    return Asked(prompt=text)


def _picture(pictures: list[str]) -> bytes | None:
    """The first picture, if it is inside the prompt."""
    inside = bool(pictures) and is_data_uri(pictures[0])
    return data_uri_bytes(pictures[0]) if inside else None


def _response_state(response: Any) -> str | None:
    """A response that the VLLM's provider held back is none."""
    held_back = isinstance(response, str) and response.strip() == FILTERED
    return ResponseState.NOT_A_RESPONSE.value if held_back else None
