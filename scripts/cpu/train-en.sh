#!/usr/bin/env bash
# dptr-en as two cores make it, from nothing, in about five hours of a CPU core with bfloat16: runs/dptr-en-more/model. The one
# that ships goes on from runs/direct-dptr-en/decoder on a GPU (research/gpu/train-en.sh). With SIZE=tiny dptr-en-tiny, in two
# hours, which is put among what ships. Needs fonts (scripts/fonts.sh), npm (for scripts/web_fonts.py) and DPTR_DATA with natural/
# (photographs), iiit5k/train and ic15/train (labeled crops); each command goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DPTR_DATA:?set DPTR_DATA to the folder that holds natural, iiit5k and ic15}"
export OMP_WAIT_POLICY=PASSIVE
dptr=${DPTR:-.venv/bin/dptr} python=${PYTHON:-.venv/bin/python} photographs=$DPTR_DATA/natural
if [ "${SIZE:-small}" = tiny ]; then
    name=dptr-en-tiny crops=371,200
    rendered=(--set run.steps=5800)
    labeled=(--set run.steps=4000 --set optim.lr=1e-3)
    more=(--set run.steps=5000 --set model.encoder.size=nano) before=4,000
else
    name=dptr-en crops=576,000
    rendered=(--set run.steps=9000 --set optim.lr=3e-3 --set ramp=0.06 --set glyph.encoder.size=tiny)
    labeled=()
    more=(--set run.steps=9000 --set model.encoder.size=tiny) before=3,200
fi

$dptr synth --config recipes/synth/signs.toml --count 300000 --workers 2 --set render.font_split=train \
    --set render.backgrounds="$photographs" --out runs/pack-en --resume
$dptr align --config recipes/align-en.toml --set pack=runs/pack-en --set render.backgrounds="$photographs" \
    --out runs/glyph-en --resume
$python scripts/ship.py runs/glyph-en/model glyph-en --note "backgrounds: 500 photographs of BSDS500"
$dptr bank --images "$photographs" --model glyph-en -o weights/dptr_weights/glyph-en/photographs.safetensors
$dptr bank --pack runs/pack-en --count 1000 --model glyph-en -o weights/dptr_weights/glyph-en/residuals.safetensors
$dptr bank --pack runs/pack-en --model glyph-en --out runs/residuals-en
$dptr pretrain --config research/recipes/evidence/text.toml --set orp.bank=runs/residuals-en --set orp.strength=1 \
    --set orp.positions=symbols --out runs/decoder-en --resume
$dptr align --config research/recipes/evidence/direct.toml "${rendered[@]}" --set init.decoder=runs/decoder-en/model \
    --set pack=runs/pack-en --set render.backgrounds="$photographs" --out "runs/direct-$name" --resume
$dptr finetune --config recipes/finetune-en.toml "${labeled[@]}" --set render.backgrounds="$photographs" \
    --set data.pack=runs/pack-en --set init.glyph="runs/direct-$name/model" --set init.decoder="runs/direct-$name/decoder" \
    --data "$DPTR_DATA/iiit5k/train" --data "$DPTR_DATA/ic15/train" --out "runs/$name" --resume
# a second, longer round with more families of fonts (541 when what ships was trained so far)
fonts="render.fonts=[\"/usr/share/fonts\",\"$PWD/runs/web-fonts\"]"
$python scripts/web_fonts.py --out runs/web-fonts || echo "train-en: goes on without those families"
$dptr synth --config recipes/synth/signs.toml --count 400000 --workers 2 --set seed=1 --set "$fonts" \
    --set render.font_split=train --set render.backgrounds="$photographs" --out runs/pack-web --resume
$dptr finetune --config recipes/finetune-en.toml --set optim.lr=2.5e-3 --set data.rendered=0.8 --set data.augment=0.5 \
    --set "$fonts" --set render.backgrounds="$photographs" --set data.pack=runs/pack-web \
    --set init.model="runs/$name/model" "${more[@]}" \
    --data "$DPTR_DATA/iiit5k/train" --data "$DPTR_DATA/ic15/train" --out "runs/$name-more" --resume
if [ "$name" = dptr-en ]; then # its place is taken by the one from the GPU
    $dptr eval --data "$DPTR_DATA/iiit5k/test" "$DPTR_DATA/ic15/test" --model "runs/$name-more/model" --protocol 36
    exit
fi
$python scripts/ship.py "runs/$name-more/model" "$name" --data iiit5k/test --data ic15/test \
    --note "decoder first on text alone, then with the encoder on $crops rendered words" \
    --note "before the last stage: $before steps of labeled crops and rendered words in Debian's fonts"
$python scripts/model_card.py "$name" --data iiit5k/test --data ic15/test
