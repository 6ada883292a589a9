"""Holds the deploy artefacts that are not Rust's business to their schemas, and to promises of our own.

    check.py kubernetes FILE...   the API's schema, strictly, and Pod Security "restricted"
    check.py compose FILE         the Compose specification, and what confines each service
    check.py dockerfile FILE      the final stage: not root, no shell, a health check of the shim alone
    check.py plist FILE           a property list that launchd takes

Prints one line for each complaint, and ends with 1 if there is one.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def kubernetes(files):
    import kubernetes_validate
    import yaml

    for name in files:
        with open(name, encoding="utf-8") as file:
            documents = [document for document in yaml.safe_load_all(file) if document]
        for document in documents:
            what = f"{name}: {document['kind']}/{document['metadata']['name']}"
            try:
                kubernetes_validate.validate(document, "1.32", strict=True)
            except Exception as error:  # its classes have no common name
                yield f"{what}: {getattr(error, 'message', error)}"
            spec = document.get("spec") or {}
            if "template" in spec:
                yield from restricted(what, spec["template"]["spec"])
                yield from probed(what, spec["template"]["spec"])
        yield from selected(name, documents)
        missing = {"PodDisruptionBudget", "NetworkPolicy", "Service", "ConfigMap"}
        missing -= {document["kind"] for document in documents}
        for kind in sorted(missing):
            yield f"{name}: no {kind}"


def restricted(what, pod):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, profile "restricted"."""
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes", []):
        for kind in set(volume) - {"name"} - allowed:
            yield f"{what}: volume {volume['name']} is a {kind}"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{what}: {name}"
    if pod.get("automountServiceAccountToken") is not False:
        yield f"{what}: has a token for the API"
    for container in pod.get("initContainers", []) + pod["containers"]:
        at = f"{what}: container {container['name']}"
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{at}: may run as root"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{at}: may gain privileges"
        if context.get("privileged"):
            yield f"{at}: is privileged"
        capabilities = context.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{at}: keeps capabilities"
        if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{at}: has no seccomp profile"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{at}: may write to its root"
        resources = container.get("resources", {})
        if not resources.get("requests") or "memory" not in resources.get("limits", {}):
            yield f"{at}: has no requests, or no limit of memory"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{at}: takes a port of its node"


def probed(what, pod):
    for container in pod["containers"]:
        if container["name"] != "shim":
            continue
        for probe, path in (("livenessProbe", "/live"), ("readinessProbe", "/ready")):
            if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                yield f"{what}: {probe} does not ask for {path}"
        if "preStop" in container.get("lifecycle", {}):
            yield f"{what}: preStop only delays what SIGTERM does"


def selected(name, documents):
    """Whatever selects pods selects those of this file."""
    pods = [
        document["spec"]["template"]["metadata"]["labels"]
        for document in documents
        if "template" in (document.get("spec") or {})
    ]
    for document in documents:
        spec = document.get("spec") or {}
        selector = spec.get("podSelector") or spec.get("selector") or {}
        labels = selector.get("matchLabels", selector)
        if labels and not any(labels.items() <= pod.items() for pod in pods):
            yield f"{name}: {document['kind']} selects no pod of this file"


def compose(files):
    import compose_spec
    import yaml

    for name in files:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        try:
            spec = compose_spec.PyCompose.from_yaml(text)
            spec.validate()
        except Exception as error:  # its classes have no common name
            yield f"{name}: {error}"
            continue
        document = yaml.safe_load(text)
        for extra in set(document) - {"name", "services", "networks", "volumes", "configs", "secrets"}:
            yield f"{name}: {extra} is no property of a project"
        for service, said in document["services"].items():
            at = f"{name}: service {service}"
            if said.get("cap_drop") != ["ALL"] or said.get("cap_add") or said.get("privileged"):
                yield f"{at}: keeps capabilities"
            if "no-new-privileges:true" not in said.get("security_opt", []):
                yield f"{at}: may gain privileges"
            for variable in said.get("environment", {}):
                if variable.endswith(("_TOKEN", "_PASSWORD")):
                    yield f"{at}: {variable} holds a secret"
            for port in said.get("ports", []):
                if not str(port).startswith("127.0.0.1:"):
                    yield f"{at}: {port} is open to everybody"
            if "latest" in said.get("image", ":latest"):
                yield f"{at}: its image has no version"
        shim = document["services"]["shim"]
        if shim.get("read_only") is not True or str(shim.get("user", "0")).startswith("0"):
            yield f"{name}: the shim is root, or may write to its root"
        if "gateway-state:/gateway:ro" not in shim["volumes"]:
            yield f"{name}: the shim may write to the gateway's state"
        yield from shared(name, document["services"])
        for secret, said in document.get("secrets", {}).items():
            # Relative to this file, while the commands in its head are given in the root of the repository.
            place = os.path.relpath(os.path.join(os.path.dirname(name), said["file"]), ROOT)
            steps = (f"install -m 700 -d {os.path.dirname(place)}\n", f"(umask 077; openssl rand -hex 32 > {place})\n")
            if not all(step in text for step in steps):
                yield f"{name}: its head does not make the secret {secret} where it is looked for"


def shared(name, services):
    """One network for gateway and shim, that goes with neither, and the shim's port the only way in."""
    pod = services["pod"]
    if not pod["image"].startswith("registry.k8s.io/pause:"):
        yield f"{name}: the pod does more than hold the network"
    if pod.get("ports") != ["127.0.0.1:18780:18780"]:
        yield f"{name}: more, or less, is published than the shim's port"
    for service in sorted(set(services) - {"pod"}):
        said = services[service]
        if said.get("network_mode") != "service:pod" or said.get("networks") or said.get("ports"):
            yield f"{name}: service {service} has a network of its own"
        if said.get("depends_on", {}).get("pod") != {"condition": "service_started", "restart": True}:
            yield f"{name}: service {service} does not follow the pod into a new network"


def dockerfile(files):
    import io
    import json

    import dockerfile_parse

    for name in files:
        with open(name, "rb") as file:
            content = io.BytesIO(file.read())
        parser = dockerfile_parse.DockerfileParser(fileobj=content)
        steps = [step for step in parser.structure if step["instruction"] != "COMMENT"]
        known = set("FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG STOPSIGNAL HEALTHCHECK SHELL".split())
        for step in steps:
            if step["instruction"] not in known:
                yield f"{name}:{step['startline'] + 1}: {step['instruction']} is no instruction"
            if step["instruction"] == "ADD":
                yield f"{name}:{step['startline'] + 1}: ADD does more than it says"
        froms = [index for index, step in enumerate(steps) if step["instruction"] == "FROM"]
        for index in froms:
            image = steps[index]["value"].split()[0]
            if image != "scratch" and (":" not in image or image.endswith(":latest")):
                yield f"{name}: {image} has no version"
        final = {step["instruction"]: step["value"] for step in steps[froms[-1]:]}
        if final.get("USER", "root").split(":")[0] in ("root", "0"):
            yield f"{name}: runs as root"
        if "ENTRYPOINT" not in final:
            yield f"{name}: starts nothing"
        if final["FROM"] == "scratch":
            commands = [final["ENTRYPOINT"], final["CMD"], final["HEALTHCHECK"].split("CMD", 1)[1]]
            for command in commands:
                try:
                    json.loads(command)
                except ValueError:
                    yield f"{name}: {command.strip()} needs a shell"
            health = final["HEALTHCHECK"].split("CMD", 1)[1].strip()
            # Without --live it would tell of the gateway's faults, too, and what heals by restarting would end the shim.
            if health != '["/usr/bin/scope-shim", "status", "--live"]':
                yield f"{name}: {health} asks for more than whether the shim is alive"
            if "RUN" in final:
                yield f"{name}: runs commands in an empty image"


def plist(files):
    import plistlib

    for name in files:
        with open(name, "rb") as file:
            agent = plistlib.load(file)
        types = {
            "Label": str, "ProgramArguments": list, "EnvironmentVariables": dict, "RunAtLoad": bool,
            "KeepAlive": dict, "ThrottleInterval": int, "ExitTimeOut": int, "ProcessType": str, "Umask": int,
            "SoftResourceLimits": dict, "HardResourceLimits": dict, "StandardOutPath": str, "StandardErrorPath": str,
        }
        for key, value in agent.items():
            if key not in types:
                yield f"{name}: launchd knows no {key}"
            elif type(value) is not types[key]:
                yield f"{name}: {key} is not a {types[key].__name__}"
        if not name.endswith(f"/{agent['Label']}.plist"):
            yield f"{name}: is not called as its label"
        if agent.get("Umask") != 0o077:
            yield f"{name}: others can read what it writes"


def main():
    kind, *files = sys.argv[1:]
    checks = {"kubernetes": kubernetes, "compose": compose, "dockerfile": dockerfile, "plist": plist}
    complaints = list(checks[kind](files))
    print("\n".join(complaints))
    sys.exit(bool(complaints))


main()
