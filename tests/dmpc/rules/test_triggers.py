"""Every rule is broken by some model, and a model breaks no other rule than its own."""

import pytest

from dmpc.check import Report
from dmpc.rules import Severity, all_rules
from tests.dmpc.rules import files, graphs, layers, modules, networks, unrolled


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Report]:
    folder = tmp_path_factory.mktemp("rules")
    cases = {**networks.cases(), **files.cases(folder), **layers.cases(folder)}
    cases |= {**modules.cases(folder), **unrolled.cases(folder)}
    cases |= graphs.cases(folder)
    return {name: make() for name, make in cases.items()}


def test_every_rule_is_broken_by_a_model(reports):
    broken = {found.rule for report in reports.values() for found in report.findings}
    assert sorted({rule.name for rule in all_rules()} - broken) == []


def test_a_case_named_after_a_rule_breaks_it(reports):
    for rule in all_rules():
        if rule.name in reports:
            assert rule.name in [found.rule for found in reports[rule.name].findings]


def test_a_model_with_one_fault_has_one_error(reports):
    mild = {rule.name for rule in all_rules() if rule.severity != Severity.ERROR}
    for name, report in reports.items():
        errors = [found for found in report.findings if found.severity == Severity.ERROR]
        assert len(errors) == (name not in mild), (name, errors)
        assert report.ok == (name in mild)
        assert (report.reached == "image") == report.ok


def test_errors_name_their_place_and_what_would_help(reports):
    for name, report in reports.items():
        for found in report.findings:
            assert found.where.startswith(report.model), name
            assert found.message, name
            assert found.nearest, name
