#!/usr/bin/env bash
# The weights that ship, from nothing: about an hour of two cores. Needs fonts (scripts/fonts.sh) and DPTR_DATA with
# natural/ (photographs), iiit5k/train and ic15/train (labelled crops); each command goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DPTR_DATA:?set DPTR_DATA to the folder that holds natural, iiit5k and ic15}"
export OMP_WAIT_POLICY=PASSIVE
dptr=${DPTR:-.venv/bin/dptr} python=${PYTHON:-.venv/bin/python} photographs=$DPTR_DATA/natural

$dptr synth --count 300000 --workers 2 --set render.font_split=train --set render.backgrounds="$photographs" \
    --out runs/pack-en --resume
$dptr align --config recipes/align-en.toml --set pack=runs/pack-en --set render.backgrounds="$photographs" \
    --out runs/glyph-en --resume
$python scripts/ship.py runs/glyph-en/model glyph-en --note "backgrounds: 500 photographs of BSDS500"
$dptr bank --images "$photographs" --dual-model glyph-en -o dptr/weights/glyph-en/photographs.safetensors
$dptr bank --pack runs/pack-en --count 1000 --dual-model glyph-en -o dptr/weights/glyph-en/residuals.safetensors
$dptr pretrain --config recipes/pretrain-en.toml --out runs/decoder-en --resume
$dptr finetune --config recipes/finetune-en.toml --set render.backgrounds="$photographs" --set data.pack=runs/pack-en \
    --set init.decoder=runs/decoder-en/model \
    --data "$DPTR_DATA/iiit5k/train" --data "$DPTR_DATA/ic15/train" --out runs/dptr-en --resume
$python scripts/ship.py runs/dptr-en/model dptr-en --note "decoder pre-trained on text alone" \
    --data iiit5k/test --data ic15/test
