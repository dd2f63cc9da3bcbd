# The demonstration on a processor, without a GPU and without Lava:
#   docker build -t neurotarget . && docker run --rm -v "$PWD/runs:/work/runs" neurotarget
# Tried where no image registry is reached: built by buildah over a Debian 12 base with Python 3.11 of our own under that
# name, with CUDA's libraries mounted in place of their wheels. Inside, one epoch of training, export with parity,
# quantisation and the report ended well; the official image and the whole demonstration in it were not tried.
FROM python:3.11-slim

WORKDIR /work
COPY . .
# EXTRA_INDEX: an index of wheels of PyTorch without CUDA, which take much less space.
ARG EXTRA_INDEX=""
RUN pip install --no-cache-dir ${EXTRA_INDEX:+--extra-index-url "$EXTRA_INDEX"} --editable ".[train,demo]"

# The steps of `make demo`, whose set-up is done above; Lava is left out.
CMD ["sh", "-c", "python -m model.train configs/demo.toml --out runs/demo --resume \
  && python -m model.train configs/demo.toml --out runs/demo/twin --resume --set model.twin=true \
  && python -m conversion.to_nir runs/demo/ckpt.pt \
  && python -m conversion.quantize runs/demo/ckpt.nir --calibrate synth \
  && python -m hardware.report runs/demo/ckpt.nir --input synth --checkpoint runs/demo/ckpt.pt \
     --twin runs/demo/twin/ckpt.pt --lava-samples 0 --out runs/demo/report"]
