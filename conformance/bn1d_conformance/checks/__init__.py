"""The checks: ordinary pytest modules, one an area of the spec.

Run them with `bn1d run TARGET`, or with pytest itself:
`pytest --pyargs bn1d_conformance.checks --bn1d-subject TARGET`.
"""
