#!/usr/bin/env bash
# Export the packaged weights as TFLite and ONNX, float32 and int8, and compare speed and memory:
#   compare_formats.sh FOLDER [SECONDS]
set -euo pipefail
folder=$1 seconds=${2:-5}
mkdir -p "$folder"
mggr-tf export default --formats tflite,onnx --data synthetic --out "$folder/float"
mggr-tf export default --int8 --formats tflite,onnx --data synthetic --out "$folder/int8"
mggr-edge bench "$folder/float" "$folder/int8" --model redirector --seconds "$seconds"
