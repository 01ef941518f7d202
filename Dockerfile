# The image of MasterJob: its command and its locked dependencies, without pip, compiler or root.
#
#   docker build -t masterjob:0.1.0 --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .
#
# Your own jobs go into an image FROM this one, or into a volume: docs/kubernetes.md.

# Any image with Python 3.11 or newer and venv; the same in both stages, so that the interpreter has the same path.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The build tools stay in this stage. Their versions are locked like those of the dependencies.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/masterjob
COPY requirements.lock requirements-build.lock ./
RUN /build/bin/pip --python /opt/masterjob/bin/python install --require-hashes --only-binary :all: -r requirements.lock \
 && /build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY controller controller
# Remove two large parts that nothing here uses: a second Kubernetes client and an editor. Compile the rest now, with
# hash-based .pyc files: the file system is read-only later, and every build gives the same files.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/pip --python /opt/masterjob/bin/python install --no-deps --no-compile /wheel/*.whl \
 && rm -rf /opt/masterjob/lib/python3*/site-packages/kubernetes/aio \
 && rm -f /opt/masterjob/lib/python3*/site-packages/swagger_ui/static/swagger-editor* \
 && /opt/masterjob/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/masterjob/lib \
 && /opt/masterjob/bin/masterjob --version

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="masterjob" \
      org.opencontainers.image.description="Run a job on one of many instances at a time, using the database you already have" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/masterjob /opt/masterjob
# If the base image has pip, it installs into our environment: `RUN pip install …` works in an image FROM this one.
# A numeric user has no name and no home directory; HOME and USER are for programs that ask for them.
ENV PATH=/opt/masterjob/bin:$PATH \
    PIP_PYTHON=/opt/masterjob/bin/python \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=masterjob
# Python jobs may be modules in this directory; mount a volume here.
WORKDIR /jobs
# Numeric, so that the kubelet can verify that it is not root. The user owns no files and needs only /tmp.
USER 10001:10001
EXPOSE 3000 3001
STOPSIGNAL SIGTERM
# masterjob runs as process 1: SIGTERM stops the jobs, releases the locks and ends it with exit code 0.
ENTRYPOINT ["masterjob"]
CMD ["operator"]
