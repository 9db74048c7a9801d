# Compile the locked requirements: one file an image, one for development. No index URL is written.
set -eu
cd "$(dirname "$0")/.."
compile() {
    out=requirements/$1.txt
    shift
    uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
        --custom-compile-command "make lock" "$@" -o "$out"
    echo "$out: $(grep -c '^[a-z]' "$out") packages"
}
compile dev pyproject.toml --all-extras --group dev
compile controller pyproject.toml --extra controller
compile serving pyproject.toml --extra serving
compile trainer pyproject.toml --extra detect --extra trainer
compile build --group build
compile mlflow --group mlflow-server
compile ansible --group ansible
