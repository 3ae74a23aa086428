# vsek as an image. By default it carries everything: `docker run … vsek` runs the embedded stack
# (Asterisk, PostgreSQL, switchboard, note service) on a volume. With EMBEDDED=no it is small and
# works with an Asterisk and a PostgreSQL of your own, named by settings (VSEK_…, vsek.toml).
#
#   docker build -t vsek .
#   docker run --rm -v vsek:/var/lib/vsek --network host vsek up
#   docker run --rm -v vsek:/var/lib/vsek --network host vsek doctor

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/run.txt requirements/
RUN python3 -m venv /opt/vsek \
    && /opt/vsek/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt
COPY . .
RUN /opt/vsek/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/vsek/bin/pip uninstall --yes hatchling pip setuptools

FROM ${BASE}
ARG EMBEDDED=yes
# apt and the archive's keys stay usable: the private servers come from Debian's packages.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 982 --home-dir /var/lib/vsek --create-home vsek \
    && mkdir -p /var/cache/vsek && chown vsek:vsek /var/cache/vsek
COPY --from=build /opt/vsek /opt/vsek
ENV LANG=C.UTF-8 \
    PATH=/opt/vsek/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    VSEK_CACHE=/var/cache/vsek \
    VSEK_DIR=/var/lib/vsek
USER vsek
RUN if [ "${EMBEDDED}" = yes ]; then python3 -c \
      'from vsek.embedded.packages import ensure; ensure(["servers"]); ensure(["speech"])' \
    && rm -rf /var/cache/vsek/apt; fi
WORKDIR /var/lib/vsek
VOLUME /var/lib/vsek
HEALTHCHECK --start-period=60s --interval=15s --timeout=12s CMD ["vsek", "health"]
ENTRYPOINT ["tini", "--", "vsek"]
CMD ["up"]
