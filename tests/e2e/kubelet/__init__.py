"""The one node of the tests' own cluster: a kubelet whose containers are processes of this machine.

    python -m tests.e2e.kubelet --kubeconfig FILE --node NAME …

`node.py` registers the node, learns which pods are bound to it and answers for their logs; `pod.py`
takes one from its sandbox to its end; `container.py` runs and restarts one process; `probes.py`
asks it; `status.py` says it all in Kubernetes' words. Images are not used and file systems are
shared: a container is its command, in the pod's network and with a process tree of its own. There
are no volumes, no init containers and no limits of memory or time.

What tests cannot bring about with real things is ordered by annotation (`orders.py`); everything
else is as truthful as what is measured: conditions, states, exit codes, restarts with back-off,
probe periods, grace periods.
"""
