"""The routes that spec/bench/api.sh compares, as a FastAPI service does them on a copy of the same
SQLite file: WAL, synchronous=FULL, one commit a write, one connection, prompts rendered by str.replace.
Handlers are `async def` and call sqlite3 directly: on local files that is faster here than the
thread pool that `def` would use."""

import hashlib
import hmac
import json
import os
import re
import sqlite3
import time
import uuid
from typing import Any, Literal, Optional

import jwt
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI()
secret = os.environ["CXBCORE_SECRET"]
key = os.environ["JWT_SECRET"]
db = sqlite3.connect(os.environ["BENCH_DB"], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=FULL")
db.execute("PRAGMA busy_timeout=5000")


def doc(collection, where, *values):
    row = db.execute(f"SELECT _id,v,doc FROM {collection} WHERE {where}", values).fetchone()
    if not row:
        return None
    found = json.loads(row[2])
    found["id"], found["v"] = row[0], row[1]
    return found


def signed_in(authorization):
    try:
        claims = jwt.decode(authorization.removeprefix("Bearer "), key, algorithms=["HS256"], leeway=30)
    except jwt.PyJWTError:
        raise HTTPException(401, "unauthenticated")
    user = doc("users", "email=?", claims["sub"])
    if not user or not user["is_active"] or user["token_version"] != claims["tv"]:
        raise HTTPException(401, "unauthenticated")
    if user["role"] not in ("admin", "super_admin"):
        raise HTTPException(403, "forbidden")
    return user


def internal(given):
    if not hmac.compare_digest(given or "", secret):
        raise HTTPException(403, "bad_secret")


@app.post("/json")
async def order(request: Request):
    body = await request.json()
    total = sum(item["price"] * item["count"] for item in body["items"])
    return {"id": body["id"], "customer": body["customer"], "total": total, "lines": len(body["items"]),
            "state": "accepted"}


@app.get("/api/v1/users/{user_id}")
async def user(user_id: str, authorization: str = Header("")):
    signed_in(authorization)
    found = doc("users", "_id=?", user_id)
    if not found:
        raise HTTPException(404, "not_found")
    return {name: value for name, value in found.items() if name not in ("password_hash", "token_version", "token_kept")}


def upsert_call(session_id, fields):
    now = int(time.time() * 1000)
    db.execute("BEGIN IMMEDIATE")
    try:
        row = db.execute("SELECT doc FROM calls WHERE _id=?", (session_id,)).fetchone()
        call = json.loads(row[0]) if row else {"started_at": now, "call_type": "bot", "status": "in_progress"}
        call.update(fields)
        db.execute("INSERT INTO calls(_id,v,created_at,updated_at,doc) VALUES(?,1,?,?,?) ON CONFLICT(_id) DO "
                   "UPDATE SET v=v+1,updated_at=excluded.updated_at,doc=excluded.doc",
                   (session_id, now, now, json.dumps(call)))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


@app.post("/api/v1/call-results")
async def result(request: Request, x_cxbcore_secret: str = Header("")):
    internal(x_cxbcore_secret)
    text = await request.body()
    body = json.loads(text)
    if not body.get("session_id"):
        raise HTTPException(422, "validation_failed")
    fields = {k: v for k, v in body.items() if v is not None}
    fields["status"] = "failed" if body.get("disconnected_by") in ("error", "no_answer", "rejected") else "completed"
    fields["result_hash"] = hashlib.sha256(text).hexdigest()
    upsert_call(body["session_id"], fields)
    return {"status": "ok", "session_id": body["session_id"], "duplicate": False, "warnings": []}


class Result(BaseModel):
    """The result as a FastAPI service declares it: known fields with their types, others kept."""

    model_config = ConfigDict(extra="allow")
    session_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    bot_id: Optional[str] = Field(None, max_length=64)
    caller_id: Optional[str] = Field(None, max_length=64)
    call_duration_seconds: Optional[float] = Field(None, ge=0, le=604800)
    disconnected_by: Optional[Literal["bot", "customer", "voicemail", "RNR", "outside_hours", "timeout",
                                      "error", "no_answer", "rejected", "transfer_to_agent"]] = None
    transcript: Optional[list[dict[str, Any]]] = None
    events: Optional[list[dict[str, Any]]] = None
    post_call_analysis: Optional[dict[str, Any]] = None
    latency: Optional[dict[str, Any]] = None
    recording_key: Optional[str] = Field(None, max_length=1024)


word = re.compile(r"\w+")


@app.post("/checked/api/v1/call-results")
async def checked_result(request: Request, body: Result, x_cxbcore_secret: str = Header("")):
    """The same with what ours does besides: each field judged, the call found by its words and number."""
    internal(x_cxbcore_secret)
    fields = {k: v for k, v in body.model_dump().items() if v is not None}
    said = " ".join(line["text"] for line in fields.get("transcript", ()) if isinstance(line.get("text"), str))
    fields["terms"] = list(dict.fromkeys(word.findall(said.lower())))[:400]
    fields["disposition"] = fields.get("post_call_analysis", {}).get("DISPOSITION")
    fields["customer_number"] = fields.get("caller_id")
    fields["number_rev"] = re.sub(r"\D", "", fields.get("caller_id") or "")[::-1]
    fields["status"] = "failed" if body.disconnected_by in ("error", "no_answer", "rejected") else "completed"
    fields["result_hash"] = hashlib.sha256(await request.body()).hexdigest()
    upsert_call(body.session_id, fields)
    return {"status": "ok", "session_id": body.session_id, "duplicate": False, "warnings": []}


@app.get("/api/v1/config/{bot_id}")
async def config(bot_id: str, caller_id: str = "", x_cxbcore_secret: str = Header("")):
    internal(x_cxbcore_secret)
    found = doc("bots", "_id=?", bot_id)
    if not found or not found.get("is_active", True):
        raise HTTPException(404, "unknown_bot")
    session_id = str(uuid.uuid4())
    now = time.gmtime()
    variables = {"caller_id": caller_id, "system.current_date": time.strftime("%Y-%m-%d", now),
                 "system.current_time": time.strftime("%H:%M", now)}
    answer = dict(found)
    for name in ("system_prompt", "opening_message", "voicemail_message", "pre_transfer_message"):
        text = answer.get(name) or ""
        for variable, value in variables.items():
            text = text.replace("{{" + variable + "}}", value)
        answer[name] = text
    upsert_call(session_id, {"bot_id": bot_id, "caller_id": caller_id, "status": "in_progress"})
    answer.update(session_id=session_id, bot_id=bot_id, variables=variables)
    return answer
