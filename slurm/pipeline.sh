#!/bin/bash
# Submit the pipeline as a chain of jobs: shards → MRI-GAN → detector on its MRIs → report. Each stage starts when the one
# before has finished; if one fails, the later ones are cancelled. The same command again submits what is missing.
#
#   mrigan shards plan catalog.parquet -o /data/shards
#   slurm/pipeline.sh /data/shards runs/paper --build "--array=0-63" --train "--nodes=8 --gpus-per-node=8" \
#       --detector "detector/mri.yaml model.weights=efficientnet_b0.safetensors"
#
# SHARDS: a planned shard folder; OUT gets gan/, detector/, report/ and logs/. Options; WORDS is one quoted string:
#   --build WORDS      options of sbatch for the job array that builds (default: one task)
#   --train WORDS      options of sbatch for both trainings (default: 1 node)
#   --evaluate WORDS   options of sbatch for the report
#   --gan WORDS        config and key=value of MRI-GAN (default: gan/paper.yaml)
#   --detector WORDS   config and key=value of the detector (default: detector/mri.yaml, which needs
#                      model.weights=FILE)
#   --report WORDS     further options of mrigan evaluate
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '/^set/d' >&2; exit 2; }
die() { echo "pipeline.sh: $*" >&2; exit 2; }

[[ $# -ge 2 && $1 != -* && $2 != -* ]] || usage
shards=$1 out=$2
shift 2
declare -A words=([build]='' [train]='' [evaluate]='' [gan]=gan/paper.yaml [detector]=detector/mri.yaml [report]='')
while (($#)); do
    name=${1#--}
    [[ $1 == --* && -v words[$name] ]] || die "unknown option $1"
    (($# >= 2)) || die "$1 needs a value"
    words[$name]=$2
    shift 2
done
[[ -f $shards/plan.json ]] || die "$shards is not planned: mrigan shards plan CATALOG -o $shards"
[[ ${words[detector]} != *detector/@(face|mri|authors).yaml* || ${words[detector]} == *model.weights=?* ]] ||
    die "the detector needs initial weights: --detector '${words[detector]} model.weights=FILE.safetensors' (or =random)"
scripts=$(dirname "$0")
mkdir -p "$out/logs"

last='' # the previous job
# submit NAME SBATCH_WORDS SCRIPT ARGUMENT…
submit() {
    local name=$1 options=$2 script=$3 log=%x-%j.log
    shift 3
    [[ $options != *--array* ]] || log=%x-%A_%a.log
    # Without it, a dependency that can never be fulfilled would wait forever.
    [[ -z $last ]] || options+=" --dependency=${when:-afterok}:$last --kill-on-invalid-dep=yes"
    # shellcheck disable=SC2086 # several words
    last=$(sbatch --parsable --job-name="mrigan-$name" --output="$out/logs/$log" $options "$scripts/$script" "$@")
    last=${last%%;*}
    echo "$name: job $last"
}

if [[ -f $shards/manifest.json ]]; then
    echo "build: $shards is built"
else
    submit build "${words[build]}" build_shards.sbatch "$shards"
    if [[ ${words[build]} == *--array* ]]; then # what the tasks left over, then the manifest
        when=afterany submit finish "$(sed -E 's/--array[= ][^ ]+//' <<<"${words[build]}")" build_shards.sbatch "$shards"
    fi
fi
# shellcheck disable=SC2086 # several words each
{
    submit gan "${words[train]}" train.sbatch gan ${words[gan]} "data.shards=$shards" "run.dir=$out/gan"
    submit detector "${words[train]}" train.sbatch detector ${words[detector]} "data.shards=$shards" \
        "run.dir=$out/detector" "model.generator=$out/gan/model/generator.safetensors"
    submit evaluate "${words[evaluate]}" evaluate.sbatch --model "$out/detector/model" --shards "$shards" \
        -o "$out/report" ${words[report]}
}
echo "watch: squeue --me; logs in $out/logs"
