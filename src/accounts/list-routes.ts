import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import type { Exports } from '../exports/exports.ts'
import { chooseType } from '../exports/media-types.ts'
import { sendWholeList } from '../exports/send.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { listAnswer, problemResponses, wholeListText } from '../responses.ts'
import { ref } from '../schemas.ts'
import { accountColumns } from './csv.ts'
import { compileAccounts, listAccounts } from './list.ts'
import { Account, AccountList, AccountListQuery } from './schemas.ts'
import { toAccount } from './store.ts'

export const accountList: FastifyPluginAsyncTypebox<{ db: Db; exports: Exports }> = async (
  app,
  { db, exports },
) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'listAccounts',
        tags: ['accounts'],
        summary: 'List accounts',
        description: `In the order of their names. A limited caller sees those whose mailbox is in its domains. ${wholeListText}`,
        security: [{ bearer: ['accounts:read'] }],
        querystring: AccountListQuery,
        response: { 200: listAnswer(AccountList, 'Account'), ...problemResponses('not-acceptable') },
      },
    },
    async (request, reply) => {
      const { subject, query } = request
      const { cursor, limit, ...filter } = query
      const type = chooseType(request, reply)
      if (type !== 'application/json') {
        return sendWholeList(
          { request, reply, exports, type },
          {
            query: compileAccounts(db, subject.domains, filter),
            toItem: toAccount,
            schema: ref(Account),
            columns: accountColumns,
            name: 'accounts',
          },
        )
      }
      const after = parseCursor(cursor)?.after
      const rows = await listAccounts(db, subject.domains, { ...filter, limit, after })
      const page = toPage(rows, limit, (row) => row.name)
      linkNext(request, reply, page.next)
      return { items: page.items.map(toAccount), next: page.next }
    },
  )
}
