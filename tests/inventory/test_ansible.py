# SPDX-License-Identifier: Apache-2.0
"""What Ottr gets from an inventory is what ansible-playbook would get."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from ottr.errors import InventoryError
from ottr.model import Secret

from .conftest import PROGRAMS, Read, Write, encrypt, encrypt_string

HOSTS = """
linux:
  children:
    web:
      hosts:
        web[1:3].example.com:
        web4.example.com: {origin: inline, ansible_port: 2222}
    db:
      hosts:
        db1.example.com:
"""


def names(hosts):
    return [host.name for host in hosts]


def test_folder_with_group_and_host_vars(write: Write, read: Read) -> None:
    write(
        {
            "inventory/hosts.yml": HOSTS,
            "inventory/group_vars/all.yml": "origin: API\ncommon_name: '{{ inventory_hostname }}'\n"
            "unused: '{{ no }}'\n",
            "inventory/group_vars/linux/platform.yml": "host_platform: linux\nos_version: '12'\n",
            "inventory/group_vars/web.yml": "subject_alternative_name: ['www.{{ common_name }}', 'müller.de']\n",
            "inventory/host_vars/web2.example.com.yml": "ansible_host: 127.0.0.2\nottr_note: ünï\n",
        }
    )
    hosts = {host.name: host for host in read("inventory").hosts()}
    assert list(hosts) == [f"web{n}.example.com" for n in (1, 2, 3, 4)] + ["db1.example.com"]
    assert hosts["web2.example.com"].groups == {"linux", "web"}
    assert hosts["web2.example.com"].variables == {
        "origin": "API",
        "common_name": "web2.example.com",
        "host_platform": "linux",
        "os_version": "12",
        "subject_alternative_name": ["www.web2.example.com", "müller.de"],
        "ansible_host": "127.0.0.2",
        "ottr_note": "ünï",
    }
    assert hosts["web4.example.com"].variables["origin"] == "inline"
    assert hosts["web4.example.com"].variables["ansible_port"] == 2222
    assert "subject_alternative_name" not in hosts["db1.example.com"].variables


def test_templates_see_groups_other_hosts_and_facts_about_the_host(write: Write, read: Read) -> None:
    write(
        {
            "hosts.yml": HOSTS,
            "group_vars/all.yml": "common_name: \"{{ inventory_hostname_short }}-{{ groups['web'] | length }}"
            "-{{ hostvars['web4.example.com'].origin }}-{{ group_names | join('.') }}\"\n",
        }
    )
    (host,) = read("hosts.yml").hosts("db1.example.com")
    assert host.variables["common_name"] == "db1-4-inline-db.linux"


def test_one_text_is_not_the_same_template_everywhere(write: Write, read: Read) -> None:
    page = write({"page.j2": r"{{ 'a\tb' }}"}) / "page.j2"
    variables = {
        "ottr_plain": "{{ inventory_hostname }}-[[ inventory_hostname ]]",
        "ottr_own": "#jinja2: variable_start_string:'[[', variable_end_string:']]'\n"
        "{{ inventory_hostname }}-[[ inventory_hostname ]]",
        "ottr_file": "{{ lookup('template', '" + str(page) + "') }}",
        "ottr_escaped": r"{{ 'a\tb' }}",
    }
    write({"hosts.yml": json.dumps({"all": {"vars": variables, "hosts": {"a": None, "b": None}}})})
    assert [host.variables for host in read("hosts.yml").hosts()] == [
        {
            "ottr_plain": f"{name}-[[ inventory_hostname ]]",
            "ottr_own": "{{ inventory_hostname }}-" + name,
            "ottr_file": "a\tb",
            "ottr_escaped": r"a\tb",
        }
        for name in ("a", "b")
    ]


def test_a_variable_that_cannot_be_rendered_is_named_and_loses_no_host(write: Write, read: Read) -> None:
    write({"hosts.yml": "all:\n  hosts:\n    a: {common_name: '{{ nowhere }}', origin: x}\n    b:\n"})
    first, second = read("hosts.yml").hosts()
    assert set(first.problems) == {"common_name"}
    assert "nowhere" in first.problems["common_name"]
    assert first.variables == {"origin": "x"}
    assert second.problems == {}


def test_precedence_is_ansibles(write: Write, read: Read) -> None:
    """Groups in groups, group priorities, files and folders, several sources, the working folder's own variables."""
    write(
        {
            "one/hosts.yml": "top:\n  vars: {ottr_a: top, ottr_b: top, ottr_c: top, ottr_d: {x: 1}}\n  children:\n"
            "    low: {vars: {ottr_a: low, ottr_b: low}, hosts: {h1: {ottr_e: inline}, h2: }}\n"
            "    high: {vars: {ottr_b: high, ansible_group_priority: 10}, hosts: {h1: }}\n"
            "    abc: {vars: {ottr_b: abc}, hosts: {h1: , h3: {ottr_a: inline}}}\n",
            "one/group_vars/all.yml": "ottr_a: all\nottr_f: all\nottr_g: all\n",
            "one/group_vars/top/1.yml": "ottr_f: top1\nottr_c: top1\n",
            "one/group_vars/top/2.yml": "ottr_f: top2\n",
            "one/group_vars/low": "ottr_d: {y: 2}\n",
            "one/host_vars/h1.yml": "ottr_e: file\nottr_h: one\n",
            "two/hosts": "[low]\nh4 ottr_a=ini\n[low:vars]\nottr_i=ini\n",
            "two/group_vars/low.json": '{"ottr_f": "two"}',
            "two/host_vars/h1/x.yml": "ottr_h: two\n",
            "group_vars/all.yml": "ottr_g: here\nottr_a: here\n",
            "host_vars/h3.yml": "ottr_j: here\n",
        }
    )
    done = subprocess.run(
        [PROGRAMS / "ansible-inventory", "-i", "one", "-i", "two", "--list"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    said = json.loads(done.stdout)["_meta"]["hostvars"]
    found = {host.name: host.variables for host in read("one", "two").hosts()}
    assert found == {
        host: {name: value for name, value in values.items() if name.startswith("ottr_")}
        for host, values in said.items()
    }
    assert found["h1"]["ottr_b"] == "high"


def test_ini_host_list_extra_vars_and_several_sources(write: Write, read: Read) -> None:
    write(
        {
            "one.ini": "[linux]\na ansible_host=127.0.0.1\n[linux:vars]\norigin=ini\n",
            "two.yml": "all:\n  hosts:\n    b: {origin: yaml}\n    a: {device_model: X}\n",
            "more.yml": "host_platform: linux\n",
        }
    )
    extra = ("os_version=12.5", '{"data_center": "DC1"}', "@more.yml")
    hosts = {host.name: host.variables for host in read("one.ini", "two.yml", "c,d,", extra_vars=extra).hosts()}
    assert set(hosts) == {"a", "b", "c", "d"}
    always = {"os_version": "12.5", "data_center": "DC1", "host_platform": "linux"}
    assert hosts["a"] == {"ansible_host": "127.0.0.1", "origin": "ini", "device_model": "X", **always}
    assert hosts["b"] == {"origin": "yaml", **always}
    assert hosts["c"] == always


def test_settings_of_ansible_cfg_stand_for_variables_and_name_the_inventory(write: Write, read: Read) -> None:
    write({"ansible.cfg": "[defaults]\ninventory = here.yml\nremote_user = robot\n", "here.yml": "all: {hosts: {a: }}"})
    (host,) = read().hosts()
    assert host.variables == {"ansible_user": "robot"}


def test_an_executable_script_is_a_source_whose_noise_does_no_harm(write: Write, read: Read) -> None:
    answer = '{"g": {"hosts": ["s1"]}, "_meta": {"hostvars": {"s1": {"origin": "ü"}}}}'
    script = f"#!/bin/sh\necho noise >&2\necho '{answer}'\n"
    path = write({"inv.sh": script}) / "inv.sh"
    path.chmod(0o755)
    (host,) = read("inv.sh").hosts("g")
    assert (host.name, host.variables) == ("s1", {"origin": "ü"})


def test_a_plugin_is_a_source(write: Write, read: Read) -> None:
    write(
        {
            "inventory/1.yml": HOSTS,
            "inventory/2.constructed.yml": "plugin: constructed\nstrict: true\ngroups:\n"
            "  ones: \"'1' in inventory_hostname\"\n",
        }
    )
    assert names(read("inventory").hosts("ones:&web")) == ["web1.example.com"]


def test_vaulted_values_are_secrets_and_come_only_when_asked_for(write: Write, read: Read) -> None:
    work = write({"pw": "hunter2\n", "inventory/group_vars/all/vault.yml": "ansible_password: s3cret\nv: 5ecret\n"})
    encrypt(work / "inventory/group_vars/all/vault.yml", work / "pw")
    inline = encrypt_string("inl1ne", work / "pw")
    write(
        {
            "inventory/hosts.yml": f"all:\n  hosts:\n    a:\n      ottr_inline: {inline}\n"
            "      ottr_derived: 'x{{ v }}'\n      ottr_plain: '{{ inventory_hostname }}'\n      ottr_token: clear\n"
            "      ansible_ssh_common_args: -o ProxyCommand='sshpass -p {{ v }} ssh jump'\n"
            "      ansible_user: '{{ v }}'\n"
            "    b: {ansible_become_pass: '{{ v }}'}\n"
        }
    )
    inventory = read("inventory", vault_password_files=("pw",))
    hosts = inventory.hosts()
    assert hosts[0].variables == {"ottr_plain": "a", "ansible_user": "5ecret"}
    hidden = {"ansible_password", "ottr_inline", "ottr_derived", "ottr_token", "ansible_ssh_common_args"}
    assert set(hosts[0].secret_names) == hidden
    found = inventory.secrets(hosts)
    assert found["a"].values == {
        "ansible_password": Secret("s3cret"),
        "ottr_inline": Secret("inl1ne"),
        "ottr_derived": Secret("x5ecret"),
        "ottr_token": Secret("clear"),
        "ansible_ssh_common_args": Secret("-o ProxyCommand='sshpass -p 5ecret ssh jump'"),
    }
    assert found["b"].values == {"ansible_password": Secret("s3cret"), "ansible_become_pass": Secret("5ecret")}


def test_identity_in_a_vaulted_file_is_still_known(write: Write, read: Read) -> None:
    work = write(
        {"pw": "hunter2\n", "hosts.yml": "all: {hosts: {a: }}", "host_vars/a.yml": "common_name: a.example.com\n"}
    )
    encrypt(work / "host_vars/a.yml", work / "pw")
    (host,) = read("hosts.yml", vault_ids=("x@pw",)).hosts()
    assert host.variables == {"common_name": "a.example.com"}


def test_a_vault_password_is_asked_for_and_travels_on_the_pipe(write: Write, read: Read) -> None:
    work = write({"pw": "hunter2"})
    inline = encrypt_string("inl1ne", work / "pw", vault_id="prod")
    write({"hosts.yml": f"all:\n  hosts:\n    a:\n      ansible_password: {inline}\n"})
    asked: list[str] = []

    def ask(vault_id: str) -> Secret:
        asked.append(vault_id)
        return Secret("hunter2")

    inventory = read("hosts.yml", ask=ask, vault_ids=("prod@prompt",))
    assert inventory.secrets(inventory.hosts())["a"].values == {"ansible_password": Secret("inl1ne")}
    assert asked == ["prod"]


def test_a_password_that_only_ansible_cfg_wants_is_asked_for_too(write: Write, read: Read) -> None:
    write({"ansible.cfg": "[defaults]\nask_vault_pass = true\n", "hosts.yml": "all: {hosts: {a: }}"})
    with pytest.raises(InventoryError, match="nobody can be asked"):
        read("hosts.yml").hosts()
    assert names(read("hosts.yml", ask=lambda _: Secret("x")).hosts()) == ["a"]


def test_a_secret_that_cannot_be_read_says_which_and_nothing_of_its_value(write: Write, read: Read) -> None:
    work = write({"pw": "hunter2", "wrong": "other"})
    inline = encrypt_string("inl1ne", work / "pw")
    write(
        {
            "hosts.yml": f"all:\n  hosts:\n    a:\n      ansible_password: {inline}\n"
            "      ansible_become_pass: 'x{{ no }}'\n"
        }
    )
    inventory = read("hosts.yml", vault_password_files=("wrong",))
    secrets = inventory.secrets(inventory.hosts())["a"]
    assert set(secrets.problems) == {"ansible_password", "ansible_become_pass"}
    assert secrets.values == {}
    assert "x" not in secrets.problems["ansible_become_pass"].replace("(AnsibleUndefinedVariable)", "")


@pytest.mark.parametrize(
    ("files", "source", "pattern"),
    [
        ({}, "nowhere.yml", "nowhere.yml: there is no such file"),
        ({"inventory/group_vars/all.yml": "a: 1\n"}, "inventory", "inventory: there is no inventory in this folder"),
        ({"inventory/hosts.yml": "a:\n  hosts: {x: {\n"}, "inventory", r"inventory/hosts\.yml.*(YAML|parse)"),
        ({"h.yml": "all: {hosts: {a: }}", "group_vars/all.yml": "a: [\n"}, "h.yml", r"group_vars/all\.yml, line 2: "),
        ({"h.yml": "all: {hosts: {a: }}", "host_vars/a.yml": "- a\n"}, "h.yml", r"."),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_file(
    write: Write, read: Read, files: dict[str, str], source: str, pattern: str
) -> None:
    write(files)
    with pytest.raises(InventoryError, match=pattern):
        read(source).hosts()


def test_a_vaulted_file_without_a_password_is_an_error_with_a_hint(write: Write, read: Read) -> None:
    work = write({"pw": "x", "hosts.yml": "all: {hosts: {a: }}", "group_vars/all.yml": "origin: x\n"})
    encrypt(work / "group_vars/all.yml", work / "pw")
    with pytest.raises(InventoryError, match=r"group_vars/all\.yml") as caught:
        read("hosts.yml").hosts()
    assert "--vault-password-file" in caught.value.hint


def test_a_pattern_without_hosts_is_an_error_and_a_term_without_hosts_a_warning(write: Write, read: Read) -> None:
    write({"hosts.yml": HOSTS, "limit": "db1.example.com\n"})
    inventory = read("hosts.yml")
    with pytest.raises(InventoryError, match="no host matches 'nope'"):
        inventory.hosts("nope")
    with pytest.raises(InventoryError, match="with the limit"):
        inventory.hosts("web", "@limit")
    assert names(inventory.hosts("db,nope2")) == ["db1.example.com"]
    assert any("nope2" in warning for warning in inventory.warnings)
    with pytest.raises(InventoryError, match="gone"):
        inventory.hosts("all", "@gone")


def test_a_reader_that_cannot_run_is_an_error(write: Write, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    work = write(
        {"hosts.yml": HOSTS, "ansible/cli/__init__.py": "raise RuntimeError('broken here')", "ansible/__init__.py": ""}
    )
    monkeypatch.setenv("PYTHONPATH", str(work))
    with pytest.raises(InventoryError, match="broken here"):
        read("hosts.yml").hosts()


def test_a_source_that_hangs_is_ended(write: Write, read: Read) -> None:
    path = write({"inv.sh": "#!/bin/sh\necho $$ > pid\nexec sleep 60\n"}) / "inv.sh"
    path.chmod(0o755)
    for timeout_s in (2, 20):  # on a machine that is busy the script may not have begun by then
        if not Path("pid").exists():
            with pytest.raises(InventoryError, match=f"within {timeout_s} s"):
                read("inv.sh", timeout_s=float(timeout_s)).hosts()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{Path('pid').read_text().strip()}/cmdline").exists():
        assert time.monotonic() < deadline, "the script outlived the reader"


def test_a_locale_like_crons_does_no_harm(write: Write, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    write({"hosts.yml": HOSTS})
    assert len(read("hosts.yml").hosts()) == 5
