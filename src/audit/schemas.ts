import Type, { type Static } from 'typebox'
import { filterText, ListQuery, listOf, nullable, oneOf, optional, strict } from '../schemas.ts'
import { actions, kinds } from './actions.ts'

const Members = (description: string) =>
  nullable(
    Type.Unsafe<object>({
      title: 'AuditedMembers',
      type: 'object',
      additionalProperties: true,
      description: `${description} Never a secret.`,
    }),
  )
const AuditAction = oneOf(actions, { title: 'AuditAction' })
const text = (description: string) => nullable(Type.String({ description }))

export const AuditEvent = strict(
  {
    id: Type.String({ format: 'uuid', description: 'The same wherever this event is shown.' }),
    at: Type.String({
      format: 'date-time',
      description: 'RFC 3339, in microseconds. The events of one object are in the order of its changes.',
    }),
    action: AuditAction,
    kind: oneOf(kinds),
    object: Type.String({ description: 'The address, the name or the id; empty for the server.' }),
    domain: text('The domain that the object lay in; null where it lay in none.'),
    level: oneOf(['info', 'alert'], {
      description: '`alert`: where mail goes, or whose tokens are valid, was changed.',
    }),
    subject: text('Who did it, as the token named it; null: the service itself, by the clock.'),
    issuer: text('Of the token; a subject is unique only together with it.'),
    token_id: text('The `jti` of the token.'),
    address: text('The IP address of the client.'),
    request_id: text('The `x-request-id` of the request, as in the log.'),
    before: Members('The members that changed, as they were; null where the object was not there.'),
    after: Members(
      'The members that changed, as they are then; null where the object is not there any more.',
    ),
  },
  {
    $id: 'AuditEvent',
    examples: [
      {
        id: '6f0b4d0e-51c7-4b9f-8d2e-0d9e0c0a7f11',
        at: '2026-11-24T08:00:00.123456Z',
        action: 'mailbox.update',
        kind: 'mailbox',
        object: 'user05@example.jp',
        domain: 'example.jp',
        level: 'info',
        subject: 'hr-sync',
        issuer: 'https://id.example.jp',
        token_id: 'b7a1c9',
        address: '192.0.2.7',
        request_id: '0b6f6c3e-6f0e-4c1e-9d53-1f1f5f0a7a11',
        before: { locked: false },
        after: { locked: true },
      },
    ],
  },
)
export type AuditEvent = Static<typeof AuditEvent>

const page = listOf(AuditEvent, 'AuditEventList')
export const AuditEventList = Type.Object(
  {
    ...page.properties,
    as_of: Type.String({
      format: 'date-time',
      description: 'Whatever is committed after this page was read has its time at or after this moment.',
    }),
  },
  { $id: 'AuditEventList', additionalProperties: false },
)

export const AuditEventListQuery = strict({
  ...ListQuery,
  ...optional({
    object: filterText(320, 'Exactly this address, name or id.'),
    subject: filterText(255, 'Exactly this subject, of any issuer.'),
    domain: Type.String({
      maxLength: 1024,
      description: 'Of objects in this domain, and of the domain itself.',
    }),
    action: AuditAction,
    since: Type.String({ format: 'date-time', description: 'At this moment or later.' }),
    until: Type.String({ format: 'date-time', description: 'Before this moment.' }),
  }),
})
export type AuditEventListQuery = Static<typeof AuditEventListQuery>

export const auditSchemas = [AuditEvent, AuditEventList]
