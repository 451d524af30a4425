"""Checks the files in deploy/ for several servers. See scripts/check-deploy."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

# The oldest Kubernetes that the manifests are for, and the newest one with a schema.
KUBERNETES = ["1.33", kubernetes_validate.latest_version()]
# What a running server needs to stop: --help of serve, and docs/operating.md.
STOP_SECONDS = 1 + 10 + 5
OVERLAYS = ["base", "haproxy"]
COMPOSE = ["deploy/compose.yml", "deploy/cluster/compose.yml"]


class Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, which YAML forbids and PyYAML takes."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def run(*words, cwd=None):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def has_kustomize():
    if not shutil.which("kubectl"):
        return False
    _, out, _ = run("kubectl", "version", "--client")
    version = re.search(r"Kustomize Version: v(\d+)", out)
    return version is not None and int(version[1]) >= 5


def seconds(text):
    """A duration of compose or HAProxy, such as 2m or 20s."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", str(text)).groups()
    return int(number) * (60 if unit == "m" else 1)


class Check:
    def __init__(self, root, changed=""):
        self.root = root
        # Nothing else is checked that does not depend on this folder or file.
        self.changed = changed
        self.faults = []
        self.not_checked = []

    def expect(self, is_so, fault):
        if not is_so:
            self.faults.append(fault)

    def text(self, name):
        return (self.root / name).read_text()

    def find(self, name, pattern):
        """The groups of the one match of a pattern in a file."""
        found = re.findall(pattern, self.text(name), re.MULTILINE)
        self.expect(len(set(found)) == 1, f"{name}: {pattern} matches {found}")
        return found[0] if found else ""

    def all(self):
        self.secrets = self.root / "made-secrets"
        code, _, said = run(self.root / "deploy/cluster/make-secrets", self.secrets, "localhost")
        self.expect(code == 0, f"make-secrets: {said}")
        self.hold(self.yaml_files)
        self.hold(self.no_secrets)
        self.hold(self.ports)
        if not self.changed.startswith("kubernetes/"):
            for name in COMPOSE:
                self.hold(self.compose_schema, name)
            self.hold(self.compose)
        if not self.changed.endswith("compose.yml"):
            for overlay in OVERLAYS:
                self.hold(self.kubernetes, overlay)
        return self

    def hold(self, part, *arguments):
        """Runs a part of the check. What is not where it must be is a fault, too."""
        try:
            part(*arguments)
        except (AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
            what = f"{type(error).__name__}: {error}"
            self.faults.append(f"{part.__name__} {' '.join(arguments)}: {what}")

    # All files.

    def yaml_files(self):
        files = [*self.root.glob("deploy/cluster/**/*.yml"), *self.root.glob("deploy/**/*.yaml")]
        self.expect(len(files) >= 9, f"only {len(files)} YAML files")
        for file in files:
            try:
                documents = list(yaml.load_all(file.read_text(), Loader))
            except yaml.YAMLError as error:
                self.faults.append(f"{file.relative_to(self.root)}: {error}")
                continue
            self.expect(all(documents), f"{file}: a document is empty")

    def no_secrets(self):
        patterns = {
            r"-----BEGIN [A-Z ]*PRIVATE KEY": "a private key",
            r"://[^/\s:$%]+:[^@/\s%$]+@": "a URL with a password",
            r"(?i)^[\s-]*\w*(password|_token|secret)\w*\s*[:=]\s*[\"']?(?!/run/)[^\s{$'\"]": "a password",
            r"(?m)^kind: Secret$": "a Secret",
        }
        for folder in ["deploy/cluster", "deploy/kubernetes"]:
            for file in (self.root / folder).rglob("*"):
                if not file.is_file() or "secrets" in file.relative_to(self.root).parts:
                    continue
                for pattern, what in patterns.items():
                    for line in file.read_text().splitlines():
                        # Names of files and of objects are no secrets.
                        is_name = re.search(r"_FILE[:=]|secretName|make-secrets|\$\(", line)
                        if re.search(pattern, line) and not is_name:
                            name = file.relative_to(self.root)
                            self.faults.append(f"{name} holds {what}: {line.strip()}")

    def ports(self):
        """What each program says of its own ports, and what others say of them."""
        haproxy = "deploy/cluster/haproxy/haproxy.cfg"
        self.server = self.find("Containerfile", r"^EXPOSE (\d+)$")
        self.admin = self.find("Containerfile", r"ADMIN_LISTEN=[\d.]+:(\d+)")
        self.pooler = self.find("deploy/cluster/pgbouncer/pgbouncer.ini", r"^listen_port = (\d+)$")
        self.clients = self.find(haproxy, r"^frontend clients\n    bind :::(\d+) v4v6$")
        self.health = self.find(
            haproxy, r"^frontend health\n    mode http\n    bind :::(\d+) v4v6$"
        )
        for name, pattern, port in [
            (haproxy, r"\$\{PASSMATE_NODES\}:(\d+)", self.server),
            (haproxy, r"check port (\d+)", self.admin),
            ("deploy/cluster/pgbouncer/Containerfile", r"^EXPOSE (\d+)$", self.pooler),
            ("deploy/cluster/make-secrets", r"@pgbouncer:(\d+)/", self.pooler),
        ]:
            found = self.find(name, pattern)
            self.expect(found == port, f"{name}: the port {found} should be {port}")
        self.hard_stop = seconds(self.find(haproxy, r"^    hard-stop-after (\w+)$"))

    def paths(self, where, text, mounts):
        """Each path of a secret in a text is mounted, and make-secrets made the file."""
        for folder, file in re.findall(r"/run/secrets/([a-z]+)/([a-z.-]*[a-z])", text):
            is_mounted = f"/run/secrets/{folder}" in mounts
            self.expect(is_mounted, f"{where}: /run/secrets/{folder} is not mounted")
            is_made = (self.secrets / folder / file).is_file()
            self.expect(is_made, f"{where}: make-secrets makes no {folder}/{file}")

    def settings(self, where, variables, mounts):
        """What the settings of a server say of its surroundings."""
        self.paths(where, "\n".join(variables.values()), mounts)
        listen = variables.get("PASSMATE_SERVER_ADMIN_LISTEN")
        self.expect(listen == f"0.0.0.0:{self.admin}", f"{where}: the admin port is {listen}")
        data = variables.get("PASSMATE_SERVER_DATA_DIR", "")
        self.expect(str(Path(data).parent) in mounts, f"{where}: {data} cannot be written")
        for name in ["STORE_FILE", "TLS_CERT", "TLS_KEY"]:
            is_set = f"PASSMATE_SERVER_{name}" in variables
            self.expect(is_set, f"{where}: servers do not share {name}")

    def user(self, name):
        return self.find(name, r"^USER (\d+):\d+$")

    # Compose.

    def compose_schema(self, name):
        code, out, err = run(
            Path(sys.executable).parent / "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            self.root / name,
        )
        self.expect(code == 0, f"{name}: {out}{err}")
        for words in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(words[0]) and run(*words, "version")[0] == 0:
                code, _, err = run(*words, "-f", self.root / name, "config", "--quiet")
                self.expect(code == 0, f"{name}: {err}")
                return
        self.not_checked.append(
            f"docker compose is not installed: only the schema proves that it accepts {name}"
        )

    def compose(self):
        name = "deploy/cluster/compose.yml"
        compose = yaml.load(self.text(name), Loader)
        services, networks = compose["services"], compose["networks"]
        users = {
            "passmate": self.user("Containerfile"),
            "pgbouncer": self.user("deploy/cluster/pgbouncer/Containerfile"),
        }
        for service, made in services.items():
            where = f"{name}: {service}"
            user = str(made.get("user", "")).split(":")[0]
            self.expect(user.isdigit() and user != "0", f"{where}: its user is no number: {user}")
            self.expect(users.get(service, user) == user, f"{where}: the image has another user")
            self.expect(made.get("read_only") is True, f"{where}: its files can be written")
            self.expect(made.get("cap_drop") == ["ALL"], f"{where}: it keeps capabilities")
            is_bound = "no-new-privileges:true" in made.get("security_opt", [])
            self.expect(is_bound, f"{where}: it may gain privileges")
            self.expect(made.get("restart") == "unless-stopped", f"{where}: it stays down")
            self.expect("healthcheck" in made, f"{where}: it has no health check")
            self.expect("stop_grace_period" in made, f"{where}: it is killed after 10 s")
            for key in ["privileged", "network_mode", "cap_add", "pid", "ipc"]:
                self.expect(key not in made, f"{where}: {key}")
            for network in made.get("networks", []):
                self.expect(network in networks, f"{where}: there is no network {network}")
            mounts = [entry.split(":")[0] for entry in made.get("tmpfs", [])]
            for entry in made.get("volumes", []):
                source, target = entry.split(":")[:2]
                mounts.append(target)
                made_secret = source.startswith("./secrets/")
                place = self.root / "deploy/cluster" / source
                if made_secret:
                    place = self.secrets / source.removeprefix("./secrets/")
                if source.startswith("."):
                    self.expect(place.exists(), f"{where}: there is no {source}")
                    self.expect(entry.endswith(":ro"), f"{where}: it could change {source}")
            build = made.get("build")
            if build:
                context = self.root / "deploy/cluster" / build["context"]
                self.expect((context / build["dockerfile"]).is_file(), f"{where}: no Containerfile")
            variables = made.get("environment", {})
            self.paths(where, "\n".join(map(str, variables.values())), mounts)
            if service == "passmate":
                self.settings(where, variables, mounts)
            if service == "pgbouncer":
                settings = self.text("deploy/cluster/pgbouncer/pgbouncer.ini")
                self.paths(where, settings, mounts)
            if service == "postgres":
                sql = self.text("deploy/cluster/postgres/create-database.sql")
                self.paths(where, sql, mounts)
        passmate, haproxy = services["passmate"], services["haproxy"]
        self.expect(passmate["scale"] == 3, f"{name}: there are {passmate['scale']} servers")
        self.expect("ports" not in passmate, f"{name}: servers are reached without HAProxy")
        ports = [f"{self.server}:{self.clients}"]
        self.expect(haproxy["ports"] == ports, f"{name}: HAProxy listens on {self.clients}")
        grace = seconds(passmate["stop_grace_period"])
        self.expect(grace > STOP_SECONDS, f"{name}: a server needs {STOP_SECONDS} s to stop")
        grace = seconds(haproxy["stop_grace_period"])
        self.expect(grace > self.hard_stop, f"{name}: HAProxy needs {self.hard_stop} s to stop")
        nodes = haproxy["environment"]["PASSMATE_NODES"]
        self.expect(nodes == "passmate", f"{name}: HAProxy looks for {nodes}")
        trusted = passmate["environment"].get("PASSMATE_SERVER_PROXY_FROM")
        subnet = networks["servers"]["ipam"]["config"][0]["subnet"]
        self.expect(trusted == subnet, f"{name}: servers trust {trusted}, HAProxy is in {subnet}")
        for network in ["servers", "database"]:
            is_internal = networks[network].get("internal") is True
            self.expect(is_internal, f"{name}: {network} can be reached from outside")
        members = {service for service, made in services.items() if "servers" in made["networks"]}
        self.expect(members == {"haproxy", "passmate"}, f"{name}: servers trust {members}")
        checks = {
            "haproxy": f"/dev/tcp/127.0.0.1/{self.health}",
            "pgbouncer": f"/dev/tcp/127.0.0.1/{self.pooler}",
        }
        for service, part in checks.items():
            test = " ".join(services[service]["healthcheck"]["test"])
            self.expect(part in test, f"{name}: the health check of {service} asks another port")

    # Kubernetes.

    def kubernetes(self, overlay):
        place = f"deploy/kubernetes/{overlay}"
        if not has_kustomize():
            self.not_checked.append(
                f"there is no kubectl with kustomize 5, so nobody rendered and checked {place}"
            )
            return
        code, out, err = run("kubectl", "kustomize", self.root / place)
        self.expect(code == 0, f"{place}: {err}")
        if code != 0:
            return
        objects = list(yaml.load_all(out, Loader))
        for made in objects:
            where = f"{place}: {made['kind']} {made['metadata']['name']}"
            for version in KUBERNETES:
                try:
                    kubernetes_validate.validate(made, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    self.faults.append(f"{where}: {version}: {error.path}: {error.message}")
                except kubernetes_validate.SchemaNotFoundError:
                    self.faults.append(f"{where}: {version} knows no {made['kind']}")
            self.expect(made["metadata"].get("namespace") == "passmate", f"{where}: its namespace")
        of = lambda kind: [made for made in objects if made["kind"] == kind]
        deployments = {made["metadata"]["name"]: made for made in of("Deployment")}
        expected = {"passmate", "pgbouncer"} | ({"haproxy"} if overlay == "haproxy" else set())
        self.expect(set(deployments) == expected, f"{place}: deployments {set(deployments)}")
        maps = {made["metadata"]["name"]: made["data"] for made in of("ConfigMap")}
        labels = {
            name: made["spec"]["template"]["metadata"]["labels"]
            for name, made in deployments.items()
        }
        selected = lambda selector: [
            name
            for name in deployments
            if (selector.get("matchLabels") or {}).items() <= labels[name].items()
        ]
        containers = {}
        for name, made in deployments.items():
            where = f"{place}: {name}"
            budgets = [
                one
                for one in of("PodDisruptionBudget")
                if selected(one["spec"]["selector"]) == [name]
            ]
            self.expect(len(budgets) == 1, f"{where}: it has {len(budgets)} disruption budgets")
            containers[name] = self.pod(where, name, made["spec"], maps)
        self.expect(deployments["passmate"]["spec"]["replicas"] == 3, f"{place}: not three servers")
        for service in of("Service"):
            name = service["metadata"]["name"]
            behind = selected({"matchLabels": service["spec"]["selector"]})
            self.expect(len(behind) == 1, f"{place}: Service {name} leads to {behind}")
            for port in service["spec"]["ports"]:
                ports = {
                    one["name"]: one["containerPort"] for one in containers[behind[0]]["ports"]
                }
                target = ports.get(port["targetPort"])
                is_right = target == port["port"]
                self.expect(is_right, f"{place}: Service {name}: {port['port']} leads to {target}")
            if service["spec"].get("type") == "LoadBalancer":
                is_local = service["spec"].get("externalTrafficPolicy") == "Local"
                self.expect(is_local, f"{place}: Service {name} hides the addresses of clients")
        entrances = [
            one["metadata"]["name"]
            for one in of("Service")
            if one["spec"].get("type") == "LoadBalancer"
        ]
        entrance = "haproxy" if overlay == "haproxy" else "passmate"
        self.expect(entrances == [entrance], f"{place}: clients come in by {entrances}")
        names = {one["metadata"]["name"] for one in of("Service")}
        self.expect("pgbouncer" in names, f"{place}: the store URL names the Service pgbouncer")
        self.network(place, overlay, of("NetworkPolicy"), containers, selected)
        if overlay == "haproxy":
            nodes = {one["name"]: one.get("value", "") for one in containers["haproxy"]["env"]}
            nodes = nodes["PASSMATE_NODES"].split(".")[0]
            heads = [one for one in of("Service") if one["metadata"]["name"] == nodes]
            is_headless = [one["spec"].get("clusterIP") for one in heads] == ["None"]
            self.expect(is_headless, f"{place}: {nodes} does not have the addresses of servers")
            server = next(data for name, data in maps.items() if name.startswith("passmate-"))
            trusts = "PASSMATE_SERVER_PROXY_FROM" in server
            self.expect(trusts, f"{place}: servers refuse what HAProxy says of clients")

    def pod(self, where, name, spec, maps):
        pod = spec["template"]["spec"]
        self.expect(spec["replicas"] >= 2, f"{where}: it has no second pod")
        self.expect(pod.get("automountServiceAccountToken") is False, f"{where}: it has a token")
        security = pod.get("securityContext", {})
        self.expect(security.get("runAsNonRoot") is True, f"{where}: it may run as root")
        user = security.get("runAsUser", 0)
        file = {"passmate": "Containerfile", "pgbouncer": "deploy/cluster/pgbouncer/Containerfile"}
        self.expect(user > 0, f"{where}: its user is {user}")
        if name in file:
            self.expect(self.user(file[name]) == str(user), f"{where}: the image has another user")
        has_profile = security.get("seccompProfile", {}).get("type") == "RuntimeDefault"
        self.expect(has_profile, f"{where}: it has no seccomp profile")
        spread = {one["topologyKey"] for one in pod.get("topologySpreadConstraints", [])}
        self.expect("kubernetes.io/hostname" in spread, f"{where}: all pods may be on one node")
        (container,) = pod["containers"]
        own = container.get("securityContext", {})
        self.expect(own.get("readOnlyRootFilesystem") is True, f"{where}: its files can be written")
        self.expect(
            own.get("allowPrivilegeEscalation") is False, f"{where}: it may gain privileges"
        )
        self.expect(own.get("capabilities") == {"drop": ["ALL"]}, f"{where}: it keeps capabilities")
        resources = container.get("resources", {})
        has_bounds = set(resources.get("requests", {})) == {
            "cpu",
            "memory",
        } and "memory" in resources.get("limits", {})
        self.expect(has_bounds, f"{where}: its resources")
        named = {one["name"] for one in container["ports"]}
        for probe in ["livenessProbe", "readinessProbe"]:
            asked = container.get(probe, {})
            asks = asked.get("httpGet") or asked.get("tcpSocket") or {}
            self.expect(asks.get("port") in named, f"{where}: {probe}: no port {asks.get('port')}")
        mounts = []
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            mounts.append(mount["mountPath"])
            volume = volumes.get(mount["name"])
            self.expect(volume is not None, f"{where}: there is no volume {mount['name']}")
            if volume and "secret" in volume:
                folder = self.secrets / volume["secret"]["secretName"]
                self.expect(folder.is_dir(), f"{where}: make-secrets makes no {folder.name}")
                is_group = (
                    security.get("fsGroup") == user and volume["secret"]["defaultMode"] == 0o440
                )
                self.expect(is_group, f"{where}: it cannot read its secret, or others can")
            if volume and "configMap" in volume:
                settings = maps.get(volume["configMap"]["name"])
                self.expect(settings is not None, f"{where}: there is no {volume['configMap']}")
        paused = (
            container.get("lifecycle", {})
            .get("preStop", {})
            .get("exec", {})
            .get("command", ["", "0"])
        )
        needed = int(paused[1]) + {"passmate": STOP_SECONDS, "haproxy": self.hard_stop}.get(name, 1)
        grace = pod.get("terminationGracePeriodSeconds", 0)
        self.expect(grace > needed, f"{where}: it needs {needed} s to stop, and has {grace}")
        ports = {one["containerPort"] for one in container["ports"]}
        expected = {
            "passmate": {int(self.server), int(self.admin)},
            "pgbouncer": {int(self.pooler)},
            "haproxy": {int(self.clients), int(self.health)},
        }[name]
        self.expect(ports == expected, f"{where}: it listens on {expected}")
        if name == "passmate":
            variables = {}
            for source in container["envFrom"]:
                settings = maps.get(source["configMapRef"]["name"])
                self.expect(settings is not None, f"{where}: there is no {source['configMapRef']}")
                variables.update(settings or {})
            self.settings(where, variables, mounts)
            paths = [
                container[probe]["httpGet"]["path"] for probe in ["livenessProbe", "readinessProbe"]
            ]
            self.expect(paths == ["/health/live", "/health/ready"], f"{where}: probes ask {paths}")
        if name == "pgbouncer":
            self.paths(where, self.text("deploy/cluster/pgbouncer/pgbouncer.ini"), mounts)
        return container

    def network(self, place, overlay, policies, containers, selected):
        """Whether exactly the connections that a cluster needs are allowed."""
        ports = {
            name: {one["containerPort"] for one in made["ports"]}
            for name, made in containers.items()
        }
        ingress, egress = set(), set()
        for policy in policies:
            spec = policy["spec"]
            self.expect(
                spec["policyTypes"] == ["Ingress", "Egress"],
                f"{place}: {policy['metadata']['name']}",
            )
            for name in selected(spec["podSelector"]):
                for rule in spec.get("ingress", []):
                    for port in rule["ports"]:
                        is_open = port["port"] in ports[name]
                        self.expect(is_open, f"{place}: {name} does not listen on {port['port']}")
                        for peer in rule.get("from", [{}]):
                            ingress.update(
                                (one, name, port["port"]) for one in self.peers(peer, selected)
                            )
                for rule in spec.get("egress", []):
                    for port in rule["ports"]:
                        for peer in rule.get("to", [{}]):
                            egress.update(
                                (name, one, port["port"]) for one in self.peers(peer, selected)
                            )
        server, admin, pooler = int(self.server), int(self.admin), int(self.pooler)
        inside = {("passmate", "pgbouncer", pooler)}
        entrance = ("anyone", "passmate", server)
        if overlay == "haproxy":
            inside |= {("haproxy", "passmate", server), ("haproxy", "passmate", admin)}
            entrance = ("anyone", "haproxy", int(self.clients))
        expected = inside | {entrance, ("monitoring", "passmate", admin)}
        self.expect(ingress == expected, f"{place}: ingress differs in {ingress ^ expected}")
        expected = inside | {("pgbouncer", "anyone", 5432)}
        expected |= {(name, "kube-system", 53) for name in containers}
        self.expect(egress == expected, f"{place}: egress differs in {egress ^ expected}")
        # Without it, what no policy names would be allowed.
        default = [one for one in policies if one["spec"]["podSelector"] == {}]
        denies = [one["spec"].keys() & {"ingress", "egress"} for one in default] == [set()]
        self.expect(denies, f"{place}: no policy denies the rest")

    def peers(self, peer, selected):
        if "podSelector" in peer:
            return selected(peer["podSelector"])
        if "namespaceSelector" in peer:
            return [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]]
        return ["anyone"]


def check(root, change=None):
    """Checks a copy of the files, which `change` may alter first."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        skip = shutil.ignore_patterns("secrets")
        shutil.copytree(root / "deploy", copy / "deploy", ignore=skip)
        shutil.copy(root / "Containerfile", copy)
        if not change:
            return Check(copy).all()
        file, old, new = change
        text = (copy / "deploy" / file).read_text()
        assert old in text, f"{file} has no {old!r} to be changed"
        (copy / "deploy" / file).write_text(text.replace(old, new, 1))
        return Check(copy, file).all()


# A file, what is replaced in it, by what, and a part of the complaint that must follow.
FAULTS = [
    ("cluster/compose.yml", "read_only: true", "read_onyl: true", "read_onyl"),
    ("cluster/compose.yml", "read_only: true", "read_only: true\n    read_only: true", "twice"),
    ("cluster/compose.yml", 'user: "99:99"', "user: root", "its user is no number"),
    ("cluster/compose.yml", 'user: "10556:10556"', 'user: "10557:10557"', "another user"),
    (
        "cluster/compose.yml",
        "stop_grace_period: 20s",
        "stop_grace_period: 9s",
        "needs 16 s to stop",
    ),
    ("cluster/compose.yml", "FROM: 172.31.56.0/24", "FROM: 172.31.0.0/16", "servers trust"),
    ("cluster/compose.yml", "    internal: true", "    internal: false", "reached from outside"),
    (
        "cluster/compose.yml",
        "server.pem",
        "server.crt",
        "make-secrets makes no passmate/server.crt",
    ),
    ("cluster/compose.yml", "/127.0.0.1/8404", "/127.0.0.1/8405", "asks another port"),
    (
        "cluster/compose.yml",
        "PASSMATE_NODES: passmate",
        "PASSMATE_NODES: server",
        "HAProxy looks for",
    ),
    (
        "cluster/compose.yml",
        "PASSWORD_FILE: /run/secrets/postgres/superuser-password",
        "PASSWORD: hunter2",
        "holds a password",
    ),
    ("cluster/haproxy/haproxy.cfg", "check port 9556", "check port 9557", "should be 9556"),
    (
        "cluster/haproxy/haproxy.cfg",
        "hard-stop-after 20s",
        "hard-stop-after 2m",
        "HAProxy needs 120 s",
    ),
    (
        "cluster/pgbouncer/pgbouncer.ini",
        "listen_port = 6432",
        "listen_port = 6433",
        "should be 6433",
    ),
    ("cluster/pgbouncer/pgbouncer.ini", "tls.pem", "cert.pem", "makes no pgbouncer/cert.pem"),
    ("kubernetes/base/passmate.yaml", "runAsNonRoot", "runAsNonRot", "runAsNonRot"),
    ("kubernetes/base/passmate.yaml", "path: /health/ready", "path: /ready", "probes ask"),
    (
        "kubernetes/base/passmate.yaml",
        "port: 29556, targetPort: passmate",
        "port: 443, targetPort: passmate",
        "443 leads to 29556",
    ),
    (
        "kubernetes/base/passmate.yaml",
        "runAsUser: 10556",
        "runAsUser: 1000",
        "the image has another user",
    ),
    ("kubernetes/base/passmate.yaml", "defaultMode: 0440", "defaultMode: 0444", "or others can"),
    (
        "kubernetes/base/passmate.yaml",
        "PeriodSeconds: 30",
        "PeriodSeconds: 20",
        "needs 21 s to stop",
    ),
    (
        "kubernetes/base/passmate.yaml",
        "name: tmp, mountPath",
        "name: temp, mountPath",
        "no volume temp",
    ),
    (
        "kubernetes/base/passmate.yaml",
        "externalTrafficPolicy: Local",
        "externalTrafficPolicy: Cluster",
        "hides the addresses",
    ),
    (
        "kubernetes/base/passmate.yaml",
        "kind: PodDisruptionBudget",
        "kind: PodDisruptionBugdet",
        "PodDisruptionBugdet",
    ),
    ("kubernetes/base/network.yaml", "- { port: 6432 }", "- { port: 5432 }", "egress differs"),
    (
        "kubernetes/base/network.yaml",
        "  podSelector: {}",
        "  podSelector:\n    matchLabels: { app: x }",
        "no policy denies the rest",
    ),
    (
        "kubernetes/base/kustomization.yaml",
        "ADMIN_LISTEN=0.0.0.0:9556",
        "ADMIN_LISTEN=0.0.0.0:9557",
        "the admin port is",
    ),
    ("kubernetes/base/kustomization.yaml", "/data/server", "/var/lib/server", "cannot be written"),
    ("kubernetes/haproxy/kustomization.yaml", "app: haproxy", "app: passmate", "ingress differs"),
    (
        "kubernetes/haproxy/kustomization.yaml",
        "value: passmate-nodes",
        "value: passmate-servers",
        "does not have the addresses",
    ),
    ("kubernetes/haproxy/haproxy.yaml", "drop: [ALL]", "drop: [NET_RAW]", "keeps capabilities"),
]


def prove(root):
    missed = 0
    faults = FAULTS
    if not has_kustomize():
        faults = [fault for fault in FAULTS if not fault[0].startswith("kubernetes/")]
        what = "there is no kubectl with kustomize 5, so no fault was planted in deploy/kubernetes"
        print(f"check-deploy: NOT CHECKED: {what}", file=sys.stderr)
    for file, old, new, part in faults:
        found = check(root, (file, old, new)).faults
        if not any(part in fault for fault in found):
            print(f"check-deploy: {file} with {new!r}: not found, but {found}", file=sys.stderr)
            missed += 1
    print(f"{len(faults) - missed} of {len(faults)} planted faults found")
    return missed


def main():
    root = Path(__file__).resolve().parents[2]
    if sys.argv[1:] == ["--prove"]:
        sys.exit(1 if prove(root) else 0)
    if sys.argv[1:]:
        sys.exit("check-deploy: error: it takes nothing, or --prove")
    checked = check(root)
    for line in checked.not_checked:
        print(f"check-deploy: NOT CHECKED: {line}", file=sys.stderr)
    for line in checked.faults:
        print(f"check-deploy: error: {line}", file=sys.stderr)
    sys.exit(1 if checked.faults else 0)


main()
