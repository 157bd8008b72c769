# Two static binaries, the whole program and the sidecar alone, and the two files that name its users: no shell, no
# libraries, no certificates (the public roots are compiled in). `make image`
# lays the root file system out under dist/ for each platform; nothing is
# pulled, so the image builds without a network.
FROM scratch
ARG TARGETARCH
ARG VERSION=dev
LABEL org.opencontainers.image.title="tapedeck" \
      org.opencontainers.image.description="Record the traffic of Istio workloads and play it back, wired in at render time" \
      org.opencontainers.image.source="https://github.com/tapedeck/tapedeck" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY dist/linux/${TARGETARCH}/ /
USER 2102:2102
ENTRYPOINT ["/tapedeck"]
