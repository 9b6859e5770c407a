"""What went wrong: a page for people in a browser, JSON for everybody else."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as Problem

from envkit_shop.site import TEMPLATES
from envkit_shop.stock import KINDS

_TITLES = {
    403: "That can't be done here",
    404: "There is nothing here",
    405: "That can't be done here",
    422: "Something does not fit",
}


def tell_errors(app: FastAPI) -> None:
    """Have an app answer its errors so."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _unfitting)


async def _problem(request: Request, error: Exception) -> Any:
    status, detail = (error.status_code, error.detail) if isinstance(error, Problem) else (500, "")
    headers = error.headers if isinstance(error, HTTPException) else None
    if _reads_html(request):
        return _page(request, status, [f"{detail[:1].upper()}{detail[1:]}."])
    return JSONResponse({"detail": detail}, status, headers)


async def _unfitting(request: Request, error: Exception) -> Any:
    """What does not fit, without what was sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    if _reads_html(request):
        return _page(request, 422, [f"{p['loc'][-1]}: {p['msg']}." for p in problems])
    told = [{"type": p["type"], "loc": list(p["loc"]), "msg": p["msg"]} for p in problems]
    return JSONResponse({"detail": told}, 422)


def _reads_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _page(request: Request, status: int, told: list[str]) -> Any:
    title = _TITLES.get(status, "That did not work")
    shown = {"categories": list(KINDS), "title": title, "told": told}
    return TEMPLATES.TemplateResponse(request, "error.html", shown, status_code=status)
