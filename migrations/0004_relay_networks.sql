-- Whose clients may send mail to anybody without a login: the old "relay by IP address" list. A slip of the pen must not
-- open it to half the world, so nothing wider than /8 (IPv4) or /32 (IPv6).
create function app.are_relay_networks(value cidr[]) returns boolean
  language sql immutable parallel safe
  return cardinality(value) <= 100 and array_position(value, null) is null
    and not exists (
      select from unnest(value) as t (network)
      where masklen(network) < case family(network) when 4 then 8 else 32 end
    );
revoke all on function app.are_relay_networks(cidr[]) from public;
grant execute on function app.are_relay_networks(cidr[]) to mailwright_service;

alter table app.settings
  add column relay_networks cidr[] not null default '{}',
  add constraint settings_relay_networks_check check (app.are_relay_networks(relay_networks));

-- Postfix's check_client_access: OK for a client of these networks. Postfix also asks for its host name and for parts
-- of its address, which are no addresses and have no row.
create function mail.relay_client(client text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  address inet;
begin
  begin
    address := client::inet;
  exception when others then
    return;
  end;
  return query
    select 'OK' from app.settings as s
    where exists (select from unnest(s.relay_networks) as t (network) where address <<= network);
end;
$$;
revoke all on function mail.relay_client(text) from public;
grant execute on function mail.relay_client(text) to mail_read;
grant create on schema mail to mailwright_definer;
alter function mail.relay_client(text) owner to mailwright_definer;
revoke create on schema mail from mailwright_definer;
