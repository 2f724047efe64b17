"""The product against a real Kubernetes API server. Run by `make test-e2e`, not by `make test`.

Without KUBECONFIG a control plane of one's own is started, built by `controlplane/build`: etcd, API
server, controllers and scheduler are the real ones, and the only node is `kubelet/`, whose
containers are processes of this machine. With KUBECONFIG the tests that a foreign cluster can
serve run there.

`conftest.py` says what a test may ask for; `control_plane.py` how the control plane is run.
"""
