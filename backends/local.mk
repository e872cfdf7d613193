# Compute backends. The reference backend is part of the host (core/ref).
