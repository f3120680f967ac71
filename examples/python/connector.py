"""Keeps a company in a CRM for each tenant: its name, its plan, and whether it is active."""
from urllib.parse import quote

import avhub

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url", "token"],
    "properties": {
        "url": {"type": "string", "pattern": r"^https?://[^/?#]+(/[^?#]*)?$", "description": "Where the CRM's API is."},
        "token": {"type": "string", "pattern": "^[!-~]+$", "writeOnly": True, "description": "Its key."},
        "timeout": {"type": "number", "minimum": 0.1, "maximum": 60, "default": 10, "description": "Seconds for one request."},
    },
}


class Companies:
    def __init__(self, config):
        self.url, self.timeout = config["url"].rstrip("/"), config["timeout"]
        self.headers = {"Authorization": "Bearer " + config["token"]}

    def request(self, http, method, path, body=None, fine=()):
        return http.request(method, self.url + path, body, self.headers, self.timeout, fine)

    def check(self, http):
        self.request(http, "GET", "/companies?limit=1")

    def deliver(self, event, state, http):
        # Works from the tenant as it stands now, not from what the event says has changed: so events may
        # come again, late, or be left out, and it ends the same.
        tenant = event.entity("organization")
        path = "/companies/" + quote(event.tenant_id, safe="")
        if tenant is None or tenant["status"] == "deleted":
            self.request(http, "DELETE", path, fine=[404])  # it may be gone already
            state.clear()
            return
        company = {"name": tenant["name"], "plan": tenant["plan"], "active": tenant["status"] == "active"}
        if state.get("company") == company:
            raise avhub.Skip("the CRM has it already")
        self.request(http, "PUT", path, company)
        state["company"] = company  # saved with the verdict, in one transaction


if __name__ == "__main__":
    avhub.serve(
        Companies, name="crm", version="1.0.0", summary="keeps a company in a CRM for each tenant", schema=SCHEMA,
        events=["tenant.created", "tenant.updated", "tenant.suspended", "tenant.deleted"], order="tenant", coalesce=True)
