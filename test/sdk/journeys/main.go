// A program that uses the generated client; see test/support/sdk-journey.ts.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"mailwright"

	"github.com/oapi-codegen/nullable"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func need[T any](value *T, body []byte) T {
	if value == nil {
		log.Fatalf("refused: %s", body)
	}
	return *value
}

func main() {
	ctx := context.Background()
	domain, other, name := os.Getenv("DOMAIN"), os.Getenv("OTHER_DOMAIN"), os.Getenv("NAME")
	authorize := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+os.Getenv("MAILWRIGHT_TOKEN"))
		return nil
	}
	client := must(mailwright.NewClientWithResponses(os.Getenv("MAILWRIGHT_URL"), mailwright.WithRequestEditorFn(authorize)))
	saw := map[string]any{}

	quota := nullable.NewNullableWithValue(int64(5_000_000_000))
	made := must(client.CreateDomainWithResponse(ctx, nil, mailwright.DomainCreate{Name: domain, DefaultQuotaBytes: quota}))
	created := need(made.JSON201, made.Body)
	saw["domain"], saw["quota"] = created.Name, must(created.DefaultQuotaBytes.Get())
	reset := mailwright.DomainUpdate{DefaultQuotaBytes: nullable.NewNullNullable[int64]()}
	updated := must(client.UpdateDomainWithResponse(ctx, domain, nil, reset))
	saw["quota_after_reset"] = need(updated.JSON200, updated.Body).DefaultQuotaBytes
	elsewhere := must(client.CreateDomainWithResponse(ctx, nil, mailwright.DomainCreate{Name: other}))
	need(elsewhere.JSON201, elsewhere.Body)

	generate := true
	create := func(address string) *mailwright.CreateMailboxResponse {
		body := mailwright.MailboxCreate{Address: &address, GeneratePassword: &generate}
		return must(client.CreateMailboxWithResponse(ctx, nil, body))
	}
	first := create(name + "a@" + domain)
	mailbox := need(first.JSON201, first.Body)
	clearText := must(mailbox.Credentials.ClearText.Get())
	securePassword := must(mailbox.Credentials.SecurePassword.Get())
	saw["clear_text"], saw["secure_password"] = clearText.Username, securePassword.Username
	saw["mechanisms"], saw["password_length"] = securePassword.Mechanisms, len(*mailbox.GeneratedPassword)

	collision := need(create(name+"a@"+other).ApplicationProblemJSON409, nil)
	saw["collision"] = map[string]any{
		"status": collision.Status, "type": collision.Type, "address": collision.Conflict.Address,
	}

	locked := true
	lock := must(client.UpdateMailboxWithResponse(ctx, mailbox.ID.String(), nil, mailwright.MailboxUpdate{Locked: &locked}))
	saw["locked"] = need(lock.JSON200, lock.Body).Locked
	saw["login_blocked_by"] = lock.JSON200.LoginBlockedBy

	for _, letter := range []string{"b", "c"} {
		next := create(name + letter + "@" + domain)
		need(next.JSON201, next.Body)
	}
	saw["pages"] = readPages(ctx, client, domain)

	last := name + "c@" + domain
	deleted := must(client.DeleteMailboxWithResponse(ctx, last, nil))
	if deleted.StatusCode() != http.StatusNoContent {
		log.Fatalf("not deleted: %s", deleted.Body)
	}
	gone := need(must(client.GetMailboxWithResponse(ctx, last)).ApplicationProblemJSON404, nil)
	saw["after_delete"] = map[string]any{"status": gone.Status, "type": gone.Type}
	must(os.Stdout.Write(must(json.Marshal(saw))))
}

func readPages(ctx context.Context, client *mailwright.ClientWithResponses, domain string) [][]string {
	pages, limit := [][]string{}, 2
	params := &mailwright.ListMailboxesParams{Domain: &domain, Limit: &limit}
	for {
		answer := must(client.ListMailboxesWithResponse(ctx, params))
		page, names := need(answer.JSON200, answer.Body), []string{}
		for _, mailbox := range page.Items {
			names = append(names, mailbox.Name)
		}
		pages = append(pages, names)
		if page.Next.IsNull() {
			return pages
		}
		cursor := must(page.Next.Get())
		params.Cursor = &cursor
	}
}
