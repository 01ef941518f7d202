# The image of MasterJob: its command and its locked dependencies, without pip, compiler or root.
#
#   docker build -t masterjob:0.1.0 --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .
#
# Jobs of your own go into an image FROM this one, or into a volume: docs/kubernetes.md.

# Any image with Python 3.11 or newer and its venv; in both stages the same, so that the interpreter is where it was.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The tools stay in this stage. They are locked too: what builds the wheel is as known as what is in it.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/masterjob
COPY requirements.lock requirements-build.lock ./
RUN /build/bin/pip --python /opt/masterjob/bin/python install --require-hashes --only-binary :all: -r requirements.lock \
 && /build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY controller controller
# Two large things that nothing here uses go: a second Kubernetes client and an editor. What stays is compiled now, by
# contents: the file system is read-only later, and every build gives the same files.
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
      org.opencontainers.image.description="Run a job on one of many instances at a time, elected through the database you already have" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/masterjob /opt/masterjob
# pip of the base image, where it has one, installs beside us: `RUN pip install …` in an image FROM this one just works.
# A user that is a number alone has no name and no home; what asks for them all the same is told these.
ENV PATH=/opt/masterjob/bin:$PATH \
    PIP_PYTHON=/opt/masterjob/bin/python \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=masterjob
# Python jobs may be modules of this folder; a volume is mounted here.
WORKDIR /jobs
# By number, so that a kubelet can tell that it is not root. It owns nothing and needs nothing but /tmp.
USER 10001:10001
EXPOSE 3000 3001
STOPSIGNAL SIGTERM
# The process is number 1 itself: SIGTERM stops the jobs, releases the locks, and ends it with 0.
ENTRYPOINT ["masterjob"]
CMD ["operator"]
