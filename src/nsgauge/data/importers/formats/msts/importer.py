"""MSTS: responses with two annotations, an adjudicated label and eight automatic judges' verdicts.

Source: Rottger et al., "MSTS: A Multimodal Safety Test Suite for Vision-Language Models", 2025,
in the public repository's layout. The judge `human` is the adjudicated label, which only the
English files have; `human-1` and `human-2` are the annotators.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nsgauge.data.folders import file_digest
from nsgauge.data.images import ImageStore
from nsgauge.data.importers.contract import Imported, ImportOptions, RejectLog
from nsgauge.data.importers.conversion import reject_of
from nsgauge.data.importers.formats.msts.labels import auto_verdicts, human_verdicts
from nsgauge.data.importers.reading.delimited import read_csv
from nsgauge.data.tables import Reject
from nsgauge.errors import DataError, ImageError, SettingsError
from nsgauge.records import ResponseState, Triple, Verdict

BENCHMARK = "MSTS"
ENGLISH = "english"
"""The source that is always read: `response_annotations/english_multimodal.csv`."""

_TEXT_ONLY = "_textonly"
_TAGS = {
    "arabic": "ar",
    "chinese": "zh",
    "english": "en",
    "farsi": "fa",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "italian": "it",
    "korean": "ko",
    "russian": "ru",
    "spanish": "es",
}
_NOT_RESPONSES = ("API RetryError occurred.", "FinishReason.SAFETY")
_REQUIRED = ("case_id", "prompt_type", "prompt_text", "model", "response", "annot1_label")
_EXTRAS = (
    *("annot1_name", "annot2_name", "agreement_label", "agreement_taxonomy", "final_expert"),
    *("final_taxonomy", "response_translated"),
)
_CASE_EXTRAS = (
    *("hazard_category", "hazard_subcategory", "hazard_subsubcategory"),
    *("unsafe_image_id", "unsafe_image_url", "unsafe_image_license", "unsafe_image_cw"),
)

Values = dict[str, str]


def import_msts(source: Path, *, options: ImportOptions, images: ImageStore) -> Imported:
    """Start the import of an MSTS tree; its rows are read as `Imported.triples` is.

    Ids are `<source>/<case>/<prompt type>/<VLLM>`, where the source is a language or
    `english_textonly`; the item is the case, in all languages and prompt types.

    Args:
        source: The repository's root, or its folder `data`.
        options: `languages` names sources besides English (or `all`); `strict` is told in
            `labels`; `image_root` is a folder with pictures named by unsafe_image_id, for the
            cases whose photo isn't in the tree.
        images: Takes the photos.

    Raises:
        SettingsError: a language that isn't there.
        DataError: no MSTS tree, a column missing, an unknown label, or automatic verdicts that
            don't match the responses row by row.
    """
    tree = _Tree(source / "data" if (source / "data").is_dir() else source)
    sources = _chosen(tree.sources(), languages=options.languages)
    reader = _TreeReader(tree, options=options, images=images)
    return Imported(
        triples=reader.triples(sources),
        verdicts=reader.verdicts,
        rejects=reader.rejects,
        files={
            path.relative_to(tree.root).as_posix(): file_digest(path)
            for path in (*sources.values(), tree.prompts, tree.images, tree.auto_eval)
            if path.exists()
        },
        notes=reader.notes,
    )


def recognises_msts(source: Path) -> bool:
    """Whether `source` is an MSTS tree."""
    tree = _Tree(source / "data" if (source / "data").is_dir() else source)
    return (tree.responses / f"{ENGLISH}_multimodal.csv").is_file()


@dataclass(frozen=True, slots=True)
class _Tree:
    """Where the files are."""

    root: Path

    @property
    def prompts(self) -> Path:
        return self.root / "prompts" / "english_multimodal.csv"

    @property
    def images(self) -> Path:
        return self.root / "images" / "unsafe_images.csv"

    @property
    def responses(self) -> Path:
        return self.root / "response_annotations"

    @property
    def photos(self) -> Path:
        return self.root / "author_pics"

    @property
    def auto_eval(self) -> Path:
        return self.root / "auto_eval" / "english_multimodal_autoeval.csv"

    def sources(self) -> dict[str, Path]:
        """The response files by language, the text-only one as `english_textonly`."""
        paths = self.responses.glob("*.csv")
        found = {path.stem.removesuffix("_multimodal"): path for path in paths}
        if ENGLISH not in found:
            raise DataError(
                f"{self.responses}: no english_multimodal.csv; give the root of an MSTS tree"
            )
        return dict(sorted(found.items()))


class _TreeReader:
    """Turns the chosen files into triples and verdicts."""

    def __init__(self, tree: _Tree, *, options: ImportOptions, images: ImageStore) -> None:
        self.verdicts: list[Verdict] = []
        self.rejects = RejectLog()
        self.notes: list[str] = []
        self._tree = tree
        self._images = images
        self._strict = options.strict
        self._cases = self._read_cases()
        self._photos = _photos(self._cases, folder=tree.photos, further=options.image_root)

    def triples(self, sources: dict[str, Path]) -> Iterator[Triple]:
        """The triples, while verdicts, rejects and notes fill up."""
        without_photo: list[str] = []
        for source, path in sources.items():
            rows = _read(path, required=_REQUIRED)
            for number, (values, auto) in enumerate(self._joined(source, rows=rows), start=1):
                where = f"{path.name} row {number}"
                try:
                    triple = self._triple(values, source=source, where=where)
                except ImageError as error:
                    self.rejects.add(reject_of(error, where=where))
                    continue
                self.verdicts += human_verdicts(
                    values, triple_id=triple.triple_id, where=where, strict=self._strict
                )
                self.verdicts += auto_verdicts(auto, triple_id=triple.triple_id)
                if triple.image is None and not source.endswith(_TEXT_ONLY):
                    without_photo.append(triple.item_id)
                yield triple
        if without_photo:
            found = f"{len(without_photo)} triples of {len(set(without_photo))} cases"
            wanted = "give --image-root, a folder with pictures named by unsafe_image_id"
            self.notes.append(f"{found} have no picture here; {wanted}")

    def _joined(self, source: str, *, rows: list[Values]) -> Iterator[tuple[Values, Values]]:
        """Each row with the automatic verdicts on it, which have no key but their position."""
        path = self._tree.auto_eval
        if source != ENGLISH or not path.exists():
            return ((row, {}) for row in rows)
        auto = _read(path, required=())
        if len(auto) != len(rows):
            raise DataError(
                f"{path}: {len(auto)} rows for {len(rows)} responses; they are joined by position, "
                "so take both files from one release"
            )
        return zip(rows, auto, strict=True)

    def _triple(self, values: Values, *, source: str, where: str) -> Triple:
        case, vllm = values["case_id"], values["model"].replace("--", "/")
        prompt_type = _prompt_type(values["prompt_type"], where=where)
        photo = None if source.endswith(_TEXT_ONLY) else self._photos.get(case)
        extras = {name: values[name] for name in _EXTRAS if values.get(name)}
        return Triple(
            triple_id=f"{source}/{case}/{prompt_type}/{vllm}",
            prompt=values["prompt_text"],
            response=values["response"],
            image=None if photo is None else self._images.add_file(photo.parent, photo.name),
            caption=values.get("unsafe_image_description") or None,
            benchmark=BENCHMARK,
            item_id=case,
            vllm=vllm,
            response_state=_response_state(values["response"]),
            language=_TAGS.get(source.removesuffix(_TEXT_ONLY)),
            extras=json.dumps({**extras, **self._cases.get(case, {})}),
        )

    def _read_cases(self) -> dict[str, Values]:
        """What the lists of prompts and images tell of each case."""
        cases: dict[str, Values] = {}
        for path in (self._tree.prompts, self._tree.images):
            if not path.exists():
                self.notes.append(f"no {path.name} in {path.parent.name}: its columns are absent")
                continue
            for values in _read(path, required=("case_id",)):
                told = {name: values[name] for name in _CASE_EXTRAS if values.get(name)}
                cases.setdefault(values["case_id"], {}).update(told)
        return cases


def _chosen(present: dict[str, Path], *, languages: Sequence[str]) -> dict[str, Path]:
    """English first, then what was asked for."""
    asked = list(present) if "all" in languages else languages
    unknown = [name for name in asked if name not in present]
    if unknown:
        known = ", ".join(("all", *present))
        raise SettingsError(f"languages {', '.join(unknown)}: not in this tree; known: {known}")
    return {name: present[name] for name in (ENGLISH, *asked)}


def _photos(cases: dict[str, Values], *, folder: Path, further: Path | None) -> dict[str, Path]:
    """By case, its photo: named by the URL's last step in the tree, or by the image id outside."""
    inside = {path.name: path for path in folder.glob("*")}
    outside = {} if further is None else {path.stem: path for path in further.glob("*")}
    photos: dict[str, Path | None] = {}
    for case, values in cases.items():
        name = unquote(urlsplit(values.get("unsafe_image_url", "")).path).rpartition("/")[2]
        photos[case] = inside.get(name) or outside.get(values.get("unsafe_image_id", ""))
    return {case: photo for case, photo in photos.items() if photo is not None}


def _prompt_type(text: str, *, where: str) -> str:
    """`assistance` or `intention`, which the files spell in five ways."""
    word = text.strip().removeprefix("prompt_").removesuffix("_textonly").removesuffix("_text")
    if word not in ("assistance", "intention"):
        raise DataError(f"{where}: prompt_type is {text!r}, wanted assistance or intention")
    return word


def _response_state(response: str) -> ResponseState:
    text = response.strip()
    if text in _NOT_RESPONSES:
        return ResponseState.NOT_A_RESPONSE
    return ResponseState.ANSWERED if text else ResponseState.EMPTY


def _read(path: Path, *, required: tuple[str, ...]) -> list[Values]:
    """All rows of a file; one that can't be read is an error, as it would shift a join."""
    rows: list[Values] = []
    for row in read_csv(path):
        if isinstance(row, Reject):
            raise DataError(f"{path}: {row.where}: {row.detail}")
        rows.append(row.values)
    present = list(rows[0]) if rows else []
    missing = [name for name in required if name not in present]
    if missing or not rows:
        found = f"{len(rows)} rows with columns {', '.join(present) or 'none'}"
        raise DataError(f"{path}: {found}; missing: {', '.join(missing) or 'rows'}")
    return rows
