"""The example that an ONNX folder carries, and what its README says of it."""

EXAMPLE = '''\
"""Scores one response, or a file of them, with the graphs beside this file.

    pip install numpy onnxruntime tokenizers pillow
    python example.py "Can I eat these?" "Yes, a handful is fine." [berries.jpg]
    python example.py rows.jsonl > scores.jsonl      # keys: prompt, response, image, caption
"""

import json
import sys
from pathlib import Path

from nsgauge_onnx import OnnxClassifier
from nsgauge_reading import Triple

arguments = sys.argv[1:]
if len(arguments) == 1:
    lines = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
elif len(arguments) in (2, 3):
    rows = [dict(zip(("prompt", "response", "image"), arguments))]
else:
    sys.exit(__doc__)

keys = ("prompt", "response", "image", "caption")
triples = [Triple(**{key: row[key] for key in keys if key in row}) for row in rows]
classifier = OnnxClassifier(Path(__file__).parent)
for score in classifier.score(triples):
    print(json.dumps(score))
'''

NOTE = """\
## This folder

ONNX graphs of the classifier: `text.onnx` (windows of tokens to vectors), `image.onnx` (pixels to
vectors) and `decision.onnx` (both to the logits of the four cells), with the tokenizer, and the
window policy, calibrator and thresholds in `classifier.json`; where a language model reads the
exchange, `language.onnx` with a tokenizer of its own. `example.py` scores with them; it
needs numpy, onnxruntime and tokenizers, Pillow where there are pictures, and ftfy where the text
tower is CLIP's or SigLIP's and a text isn't ASCII. Its probabilities are those of the bundle within
1e-4.
"""
