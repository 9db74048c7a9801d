#!/bin/sh
# The build stages of every image. Two steps and two folders, so that a change of our sources leaves the layer with the
# locked requirements as it is: venv.sh requirements NAME fills /opt/selfheal, venv.sh wheel fills /opt/app with our own code.
set -eu
python=/usr/bin/python3.11 # not the image's own environment, which the final stage does not have

install() { # ENVIRONMENT ARGUMENTS...
    environment=$1
    shift
    $python -m pip --python "$environment/bin/python" install --quiet --no-cache-dir --no-compile --no-deps "$@"
}

# The root file system is read-only later: compile now, and by content, since times do not survive the copy.
compile() { /opt/selfheal/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$1"; }

case $1 in
requirements)
    for environment in /build /opt/selfheal; do $python -m venv --without-pip "$environment"; done
    install /build --require-hashes -r requirements/build.txt
    install /opt/selfheal --require-hashes -r "requirements/$2.txt"
    # The LSTM is trained on the processor. Its torch links to CUDA's libraries and needs these files to start; what only
    # a GPU would load, 2 GB, goes. Triton compiles for GPUs.
    packages=/opt/selfheal/lib/python3.11/site-packages
    rm -rf $packages/triton $packages/triton-*.dist-info $packages/nvidia/cudnn/lib/libcudnn_*
    find $packages/nvidia -name '*.a' -delete 2>/dev/null || true
    compile $packages >/dev/null || echo "some packages hold files for other Pythons, which stay as they are"
    ;;
wheel)
    /build/bin/python -m hatchling build -t wheel -d /wheels
    install /opt/selfheal --target /opt/app /wheels/*.whl
    compile /opt/app
    ;;
*)
    echo "usage: venv.sh requirements NAME | venv.sh wheel" >&2
    exit 2
    ;;
esac
