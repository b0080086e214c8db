"""A program that uses the generated client; see test/support/sdk-journey.ts."""

import json
import os

from mailwright_client import AuthenticatedClient
from mailwright_client.api.domains import create_domain, update_domain
from mailwright_client.api.mailboxes import (
    create_mailbox,
    delete_mailbox,
    get_mailbox,
    list_mailboxes,
    update_mailbox,
)
from mailwright_client.models import (
    Domain,
    DomainCreate,
    DomainUpdate,
    Mailbox,
    MailboxCreate,
    MailboxCreated,
    MailboxList,
    MailboxUpdate,
    Problem,
)

client = AuthenticatedClient(base_url=os.environ["MAILWRIGHT_URL"], token=os.environ["MAILWRIGHT_TOKEN"])
domain, other, name = os.environ["DOMAIN"], os.environ["OTHER_DOMAIN"], os.environ["NAME"]
saw = {}


def create(address):
    body = MailboxCreate(address=address, generate_password=True)
    return create_mailbox.sync(client=client, body=body)


def read_pages():
    pages, cursor = [], None
    while True:
        arguments = {} if cursor is None else {"cursor": cursor}
        page = list_mailboxes.sync(client=client, domain=domain, limit=2, **arguments)
        assert isinstance(page, MailboxList), page
        pages.append([mailbox.name for mailbox in page.items])
        cursor = page.next_
        if cursor is None:
            return pages


made = create_domain.sync(client=client, body=DomainCreate(name=domain, default_quota_bytes=5_000_000_000))
assert isinstance(made, Domain), made
saw["domain"], saw["quota"] = made.name, made.default_quota_bytes
reset = update_domain.sync(domain, client=client, body=DomainUpdate(default_quota_bytes=None))
assert isinstance(reset, Domain), reset
saw["quota_after_reset"] = reset.default_quota_bytes
assert isinstance(create_domain.sync(client=client, body=DomainCreate(name=other)), Domain)

mailbox = create(f"{name}a@{domain}")
assert isinstance(mailbox, MailboxCreated), mailbox
saw["clear_text"] = mailbox.credentials.clear_text.username
saw["secure_password"] = mailbox.credentials.secure_password.username
saw["mechanisms"] = [str(one) for one in mailbox.credentials.secure_password.mechanisms]
saw["password_length"] = len(mailbox.generated_password)

collision = create(f"{name}a@{other}")
assert isinstance(collision, Problem), collision
saw["collision"] = {
    "status": collision.status,
    "type": collision.type_,
    "address": collision.conflict.address,
}

locked = update_mailbox.sync(str(mailbox.id), client=client, body=MailboxUpdate(locked=True))
assert isinstance(locked, Mailbox), locked
saw["locked"], saw["login_blocked_by"] = locked.locked, [str(one) for one in locked.login_blocked_by]

for letter in "bc":
    assert isinstance(create(f"{name}{letter}@{domain}"), MailboxCreated)
saw["pages"] = read_pages()

assert delete_mailbox.sync(f"{name}c@{domain}", client=client) is None
gone = get_mailbox.sync(f"{name}c@{domain}", client=client)
assert isinstance(gone, Problem), gone
saw["after_delete"] = {"status": gone.status, "type": gone.type_}
print(json.dumps(saw))
