-- A rename moves what the service cannot read: the verifiers of the account, but for those of mechanisms that the new
-- domain does not list. None of them has the name in it. Delete and insert, since the name is what a sharded database
-- is distributed by.
create function app.move_verifiers(from_name text, to_name text, listed text[]) returns void
  language sql security definer set search_path = ''
begin atomic
  delete from app.verifiers as v where v.name = from_name and v.mechanism <> 'ARGON2ID' and v.mechanism <> all (listed);
  insert into app.verifiers (name, mechanism, scheme, verifier)
    select to_name, v.mechanism, v.scheme, v.verifier from app.verifiers as v where v.name = from_name and from_name <> to_name;
  delete from app.verifiers as v where v.name = from_name and from_name <> to_name;
end;
revoke all on function app.move_verifiers(text, text, text[]) from public;
grant execute on function app.move_verifiers(text, text, text[]) to mailwright_service;
grant create on schema app to mailwright_definer;
alter function app.move_verifiers(text, text, text[]) owner to mailwright_definer;
revoke create on schema app from mailwright_definer;

-- What the mail servers have written down goes with the mailbox.
grant update (username) on mail.usage, mail.last_login to mailwright_service;
