import type { CatalogueEntry } from '../catalogue.ts'

/** What is true at this moment stands against the request. */
export const conflicts = {
  'domain-exists': {
    status: 409,
    title: 'The domain already exists',
    help: 'Nothing was changed. Read it with GET, change it with PATCH.',
  },
  'domain-deleted': {
    status: 409,
    title: 'The domain is deleted and its name still held',
    help: 'A domain that was deleted with its mailboxes keeps its name until the last of them is purged (`purge_at`), and none of them comes back without it. Restore it, wait, or delete it with `purge=true`.',
  },
  'domain-not-empty': {
    status: 409,
    title: 'The domain still has mailboxes',
    help: 'Delete its mailboxes first, or say `mailboxes=delete&expect=<mailbox_count>`.',
  },
  'count-mismatch': {
    status: 409,
    title: 'The domain does not have as many mailboxes as expected',
    help: 'Nothing was deleted. Read the domain again, make sure that it is the one you mean, and send its current `mailbox_count` as `expect`.',
  },
  'domain-has-addresses': {
    status: 409,
    title: 'The domain has addresses of its own',
    help: 'Only a domain without mailboxes (deleted ones too) and aliases can become an alias of another. Delete and purge them first, or move them.',
  },
  'domain-has-alias-domains': {
    status: 409,
    title: 'Other domains are aliases of this one',
    help: 'Without it their addresses would stand for nothing. Delete those domains first, or set their `alias_of` to null.',
  },
  'addresses-taken': {
    status: 409,
    title: 'Both domains have an address of the same name',
    help: 'Nothing was moved. A mailbox never has the name of another, but an alias can have it in each domain; `errors` names the addresses of the domain to move to, the first 20. Delete those aliases in one of the two, or give the mailboxes that they collide with another name.',
  },
  'mailbox-exists': {
    status: 409,
    title: 'The mailbox already exists',
    help: 'Nothing was changed. A job that wants "create or leave as it is" uses PUT /v1/mailboxes/{mailbox}.',
  },
  'mailbox-deleted': {
    status: 409,
    title: 'A deleted mailbox still holds this name',
    help: 'A deleted mailbox keeps its name until it is purged (`conflict.purge_at`), so that nobody gets the name and with it the old mail. Restore it, wait, or delete it with `purge=true`.',
  },
  'on-hold': {
    status: 409,
    title: 'A mailbox on hold cannot be purged',
    help: 'Nothing was deleted. While `hold` is true neither `purge=true` nor the end of the retention nor the deletion of its domain removes a mailbox. Find those on hold with GET /v1/mailboxes?hold=true (and `state=deleted`), and lift the hold with PATCH `{"hold": false}`, which needs `mailboxes:purge` besides.',
  },
  'alias-exists': {
    status: 409,
    title: 'The address is an alias',
    help: 'An address is a mailbox or an alias, never both. Delete the alias first.',
  },
  'alias-loop': {
    status: 409,
    title: 'The mail would come back to the alias',
    help: 'One of the targets is the alias itself, or an alias whose mail comes to it, directly or through others. Nothing was changed. Name the mailboxes instead.',
  },
  'alias-limit-reached': {
    status: 409,
    title: 'The mail would pass too many aliases or reach too many targets',
    help: 'Mail passes at most 5 aliases, counted over every path through this one, and none may reach more than 1,000 targets. Name mailboxes instead of aliases, or use a mailing list.',
  },
  'name-taken': {
    status: 409,
    title: 'The name is taken in this installation',
    help: 'A name belongs to one mailbox in the whole installation, whatever the domain, because it is a login name by itself. Choose another local part.',
  },
  'account-exists': {
    status: 409,
    title: 'The account already exists',
    help: 'An account of this name exists. To give it a mailbox send `create_account: false` and no password.',
  },
  'account-has-mailbox': {
    status: 409,
    title: 'The account has a mailbox',
    help: 'No mailbox can be without its account. Delete (and purge) the mailbox first, or delete both with DELETE /v1/mailboxes/{mailbox}?account=delete.',
  },
  'authentication-differs': {
    status: 409,
    title: 'The account exists with another kind of authentication',
    help: 'The kind of authentication of an account is chosen when it is created and is not changed by PUT or by linking it.',
  },
  'mailbox-limit-reached': {
    status: 409,
    title: 'The domain has as many mailboxes as it may have',
    help: 'Delete mailboxes, or raise `mailbox_limit` of the domain. Deleted mailboxes do not count.',
  },
  'idempotency-key-in-use': {
    status: 409,
    title: 'A request under this idempotency key is under way',
    help: 'The first request under this `Idempotency-Key` is not finished. Send this one again in a moment: it is then answered as the first one was, or done, where that one was refused.',
  },
} as const satisfies Record<string, CatalogueEntry>
