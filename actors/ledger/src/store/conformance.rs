//! The suite that every store passes. A backend calls [`conformance_tests`] with a
//! way to make an empty store that follows [`crate::testing::policy`], and has one test for each case.
//! Cases take one handle of the store, or two that act at the same time.

pub(crate) mod access;
pub(crate) mod alerts;
pub(crate) mod attempts;
pub(crate) mod concurrent_access;
pub(crate) mod concurrent_pages;
pub(crate) mod concurrent_tasks;
pub(crate) mod deaths;
pub(crate) mod dependencies;
pub(crate) mod entities;
pub(crate) mod erasure;
pub(crate) mod external;
pub(crate) mod followers;
mod handles;
pub(crate) mod leases;
pub(crate) mod messages;
pub(crate) mod mode;
mod notices;
pub(crate) mod plans;
pub(crate) mod queue;
pub(crate) mod secrets;
pub(crate) mod session_bots;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod shares;
pub(crate) mod submissions;
pub(crate) mod task_events;
pub(crate) mod web_sessions;
pub(crate) mod webhook_deliveries;
pub(crate) mod webhooks;

use std::{sync::Arc, time::Duration};

use deia_model::{
    Action, AttemptEnd, AttemptOutcomeKind, BotName, EndReason, LeaseToken, NewTask, Priority,
    RetryOverride, Submitted, Task, TaskId, TaskStatus, Timestamp, Toll, Visibility,
};

use crate::{
    Apply, AttemptReport, CancelTask, Cancelling, Claim, ClaimTasks, ClaimedTask, CommitNotice,
    Demand, FinishAttempts, Ledger, LedgerCommand, ReadyQuery, Rejection, ReportAck, RunDue,
    StoreError, Submit,
};

/// Declares the cases. The tests of a backend are made from this list, so that each
/// runs, fails and is called alone; a case that is not listed is dead code.
macro_rules! suite {
    ($d:tt $($module:ident { $($case:ident),* $(,)? })*) => {
        /// Makes one test of each case. `$make` makes two handles of an empty store that
        /// follows [`crate::testing::policy`], and a guard that is held while the case runs.
        macro_rules! conformance_tests {
            ($d make:path) => {
                $(
                    mod $module {
                        use $d crate::store::conformance::{self, $module as cases};

                        $(
                            #[tokio::test]
                            async fn $case() {
                                let (handles, _guard) = $d make();
                                conformance::check(handles, cases::$case).await;
                            }
                        )*
                    }
                )*
            };
        }
        pub(crate) use conformance_tests;
    };
}

suite! { $
    alerts {
        alert_names_the_user_who_acknowledged_it_first,
        alerts_are_listed_page_by_page_and_forgotten_when_old,
        condition_has_one_open_alert_until_it_is_resolved,
        open_alert_is_seen_with_its_condition_as_it_is_now,
    }
    settings {
        earlier_versions_are_found_unless_they_were_taken_back,
        old_versions_are_forgotten_but_not_those_to_go_back_to,
        version_is_recorded_once_with_its_event,
        probation_below_a_confirmed_version_is_over,
    }
    session_bots {
        tasks_of_a_session_go_to_its_bot,
        first_task_gives_the_session_its_bot,
        session_gets_another_bot_when_its_own_is_stopped,
        session_fails_with_its_bot,
        task_of_a_session_may_start_in_its_submission,
    }
    sessions {
        session_is_started_listed_and_ended,
        session_names_a_bot_that_takes_tasks,
        sessions_of_a_user_are_limited_and_end_with_it,
        repeated_start_makes_one_session,
        tasks_need_an_active_session_of_their_submitter,
        ended_session_cancels_its_waiting_tasks_if_asked,
        idle_session_ends_unless_a_task_is_unfinished,
        messages_count_in_their_session,
        ended_sessions_are_forgotten,
    }
    mode {
        end_of_one_level_spares_a_later_one,
        level_lasts_until_it_is_replaced_or_ended,
    }
    messages {
        message_is_delivered_read_and_recorded,
        urgent_messages_come_first_then_the_oldest,
        unread_message_is_delivered_again_and_fails_at_last,
        message_expires_unless_it_was_read,
        messages_name_bots_that_exist,
        inbox_has_a_limit,
        repeated_send_makes_one_message,
        delivery_is_bounded_by_bytes,
        messages_of_a_removed_bot_fail,
        messages_are_listed_by_bot_page_by_page,
        ended_messages_are_forgotten,
    }
    followers {
        events_are_complete_without_their_task,
        follower_processes_each_event_once,
        cursor_moves_forward_within_the_log_only,
        statistics_of_the_same_hour_type_and_bot_add_up,
        pages_of_events_are_bounded_and_continue,
        events_of_a_page_are_numbered_within_their_task,
        pruning_keeps_the_newest_event_and_those_of_binding_followers,
        newest_event_before_a_time_is_found,
        only_one_of_two_moves_a_cursor,
        size_of_the_log_is_not_judged_by_its_ends,
        checkpoint_of_the_trail_is_noted_with_the_cursor,
        new_history_begins_behind_the_newest_event,
    }
    webhook_deliveries {
        deliveries_wait_are_retried_and_become_history,
        events_of_some_actions_are_found_among_others,
        replay_runs_once_and_can_be_stopped,
    }
    webhooks {
        cursors_of_endpoints_move_with_the_dispatcher,
        disabled_endpoint_keeps_its_place_and_tells_what_it_missed,
        endpoints_of_a_deleted_user_are_disabled_with_it,
        endpoint_is_changed_and_deleted_with_all_that_belongs_to_it,
        endpoints_are_listed_by_owner_page_by_page,
        registration_is_limited_and_repeatable,
    }
    task_events {
        events_of_a_task_are_numbered_from_one_without_gaps,
        pruning_changes_no_number_or_cursor_of_a_tasks_events,
    }
    submissions {
        a_submission_is_stored_with_its_event,
        large_content_is_kept_whole,
        a_later_task_becomes_ready_when_due,
        ready_tasks_come_in_order_of_submission,
        a_repeated_submission_gives_the_same_answer,
        concurrent_submissions_all_land,
        lists_filter_and_page,
        commands_after_close_are_refused,
    }
    shares {
        each_end_of_a_wait_admits_another_task,
        requeued_tasks_count_again,
        waiting_bytes_are_limited,
        limits_are_per_submitter,
        the_whole_queue_has_a_limit,
        types_of_a_submitter_are_limited_until_they_are_deleted,
        refusals_do_not_reveal_types_of_others,
        duplicates_count_towards_no_limit,
        the_oldest_answers_of_a_submitter_are_deleted,
    }
    leases {
        lease_that_is_not_extended_expires,
        lease_is_extended_by_its_holder_only,
        leases_that_expire_are_not_released_with_their_bot,
        a_lease_that_is_held_outlives_its_bot,
    }
    attempts {
        a_task_is_claimed_once,
        claim_for_a_bot_that_was_stopped_meanwhile_leaves_the_task,
        a_completion_is_recorded_exactly_once,
        a_stale_lease_changes_nothing,
        a_failure_is_retried_until_no_attempts_are_left,
        tasks_of_a_dead_bot_are_requeued_and_poison_fails,
        a_task_given_back_loses_no_attempt,
        waiting_tasks_are_cancelled_at_once,
        running_tasks_are_cancelled_through_their_bot,
        cancellation_survives_a_give_back,
        counters_of_the_queue_are_exact,
        the_wait_of_a_task_given_back_continues,
    }
    deaths {
        a_task_that_is_ready_again_names_the_bot_of_its_last_attempt,
        each_death_is_charged_to_its_own_count,
        a_task_that_takes_down_the_hive_fails,
        a_fault_of_the_bot_only_delays_the_task,
        a_cancelled_end_without_a_cancellation_is_given_back,
        a_release_leaves_attempts_that_started_later,
    }
    dependencies {
        a_task_waits_for_its_dependencies,
        the_task_chooses_the_consequence_of_a_failed_dependency,
        a_failure_propagates_down_the_chain,
        a_dependency_that_has_ended_already_counts,
        invalid_dependencies_are_refused,
        tasks_of_a_batch_may_depend_on_each_other,
        duplicates_in_a_batch_are_one_dependency,
        ended_dependents_do_not_count_towards_the_limit,
        a_task_that_cannot_wait_again_is_not_put_back,
        settled_dependents_are_no_longer_due,
    }
    plans {
        an_equal_unfinished_task_is_not_accepted_twice,
        a_task_that_waits_too_long_expires,
        a_finished_task_can_be_put_back,
        a_type_has_its_own_defaults,
        task_types_are_limited,
    }
    queue {
        paused_tasks_are_not_started,
        a_claim_brings_a_bounded_number_of_bytes,
        progress_is_recorded_for_the_lease_only,
        finished_tasks_are_deleted_after_their_retention,
        each_commit_sends_statistics,
        tags_metadata_and_reasons_filter,
        only_waiting_tasks_have_a_position,
        poison_leaves_its_evidence,
        a_task_may_start_in_the_transaction_of_its_submission,
    }
    entities {
        a_bot_is_put_changed_and_removed,
        each_change_of_a_bot_announces_its_eligible_generation,
        bots_get_ports_of_their_own,
        ports_that_something_listens_at_are_avoided,
        a_bot_counts_its_attempts,
        a_bot_in_use_cannot_be_deleted,
        a_draining_bot_is_stopped_when_it_has_drained,
        events_without_a_change_are_recorded,
    }
    web_sessions {
        sessions_are_opened_used_and_ended,
        sessions_are_limited_per_user_and_in_total,
        a_repeated_request_opens_one_session,
    }
    access {
        keys_are_added_and_revoked,
        a_key_needs_a_user_with_its_role,
        a_key_is_stored_whole,
        uses_of_keys_are_recorded,
        keys_are_rotated,
        users_are_added_changed_and_removed,
        a_reused_name_inherits_nothing,
        a_repeated_request_makes_one_user,
        the_last_admin_cannot_be_removed,
        an_admin_key_is_recovered,
        users_and_keys_are_limited,
        callers_see_only_their_own_tasks,
        status_and_result_are_read_together,
    }
    erasure {
        content_and_outcome_are_erased_and_the_record_stays,
        only_finished_tasks_are_erased_and_only_once,
        erased_tasks_are_not_requeued,
    }
    external {
        external_event_is_appended_whole_for_its_caller,
        external_events_are_selected_by_kind_and_by_name,
        external_event_outside_its_limits_is_refused,
        repeated_external_event_is_appended_once,
        external_event_of_a_revoked_caller_is_not_appended,
        level_of_an_event_overrides_that_of_its_action,
    }
    concurrent_tasks {
        two_claimers_never_get_the_same_task,
        submission_repeated_at_once_is_accepted_once,
        idempotency_key_used_at_once_for_two_requests_is_refused_to_one,
        dedup_key_used_at_once_makes_one_task,
        last_places_of_a_submitter_go_to_one_of_two,
        lease_reported_by_both_ends_its_attempt_once,
        stale_lease_changes_nothing_while_the_new_one_is_reported,
        attempt_given_back_while_it_is_reported_ends_once,
        claim_during_a_pause_gets_the_task_before_it_or_not_at_all,
        task_cancelled_while_it_is_claimed_ends_cancelled_either_way,
        waiting_task_is_cancelled_or_claimed_but_not_both,
        failed_task_is_put_back_once,
        dependent_submitted_while_its_task_ends_is_settled,
    }
    concurrent_access {
        two_last_admin_keys_revoked_at_once_leave_one,
        two_last_admins_deleted_at_once_leave_one,
        key_revoked_by_both_is_revoked_once,
        key_rotated_by_both_has_one_successor,
        caller_revoked_meanwhile_has_no_effect_after_the_answer,
        bot_put_from_both_takes_one_of_two_changes,
        user_added_by_both_is_added_once,
    }
    concurrent_pages {
        commit_of_one_handle_is_read_by_the_other,
        task_pages_read_during_writes_miss_and_repeat_nothing,
        task_pages_read_during_deletions_miss_nothing_that_stays,
        event_pages_read_during_writes_miss_and_repeat_nothing,
        events_followed_during_writes_have_no_gap_and_no_late_arrival,
        cursors_of_one_handle_are_taken_by_the_other,
    }
    secrets {
        a_secret_is_put_changed_read_and_removed,
        secrets_are_limited,
        only_unchanged_secrets_are_resealed,
    }
}

pub(crate) use handles::{Handles, check};
use handles::{ROUNDS, one_refused, race};
use notices::{flows_of, notices_of, seen};

fn task_of(task_type: &str, content: &str) -> NewTask {
    NewTask::new(task_type.parse().unwrap(), content)
}

async fn submit(ledger: &Ledger, tasks: Vec<NewTask>) -> Vec<Submitted> {
    let command = Submit {
        tasks,
        submitter: "ada".into(),
        role: deia_model::Role::Operator,
        idempotency: None,
    };
    ledger.apply(command).await.unwrap().tasks
}

async fn submit_one(ledger: &Ledger) -> TaskId {
    submit(ledger, vec![task_of("general", "x")]).await[0].id
}

async fn claim(ledger: &Ledger, id: TaskId, bot: &str) -> Option<ClaimedTask> {
    let claim = Claim {
        task: id,
        bot: bot_name(bot),
        lease: LeaseToken::new(),
        incarnation: 1,
        expires_after: None,
        stands_in_for: None,
    };
    ledger
        .apply(ClaimTasks(vec![claim]))
        .await
        .unwrap()
        .tasks
        .pop()
}

fn report(claimed: &ClaimedTask, end: AttemptEnd) -> AttemptReport {
    AttemptReport {
        task: claimed.task.id,
        attempt: claimed.task.attempt,
        lease: claimed.lease,
        end,
        output: (end == AttemptEnd::Succeeded).then(|| "done".into()),
        output_bytes: None,
        error: (end != AttemptEnd::Succeeded).then(|| "broke".into()),
        exit_code: Some(i32::from(end != AttemptEnd::Succeeded)),
        execution_time_ms: 7,
        tokens_used: None,
        cost_cents: None,
        failure_class: None,
    }
}

async fn finish(ledger: &Ledger, report: AttemptReport) -> ReportAck {
    ledger.apply(FinishAttempts(vec![report])).await.unwrap()[0].clone()
}

async fn promote(ledger: &Ledger) -> u64 {
    ledger.apply(RunDue { limit: 100 }).await.unwrap()
}

async fn refused(ledger: &Ledger, command: impl LedgerCommand) -> Rejection {
    match ledger.apply(command).await {
        Err(StoreError::Refused(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

async fn stored(ledger: &Ledger, id: TaskId) -> Task {
    ledger.task(id).await.unwrap().unwrap()
}

async fn ready_ids(ledger: &Ledger, task_type: &str, priority: Priority) -> Vec<TaskId> {
    let query = ReadyQuery {
        demand: Demand::of_type(task_type.parse().unwrap()),
        priority,
        after: i64::MIN,
        limit: 100,
    };
    ledger
        .ready(query)
        .await
        .unwrap()
        .into_iter()
        .map(|task| task.id)
        .collect()
}

async fn actions(ledger: &Ledger) -> Vec<Action> {
    let events = ledger.events(0, 1_000).await.unwrap().into_iter();
    events.filter_map(|event| event.action.known()).collect()
}

async fn count(ledger: &Ledger, action: Action) -> usize {
    let all = actions(ledger).await;
    all.into_iter().filter(|other| *other == action).count()
}

fn bot_name(name: &str) -> BotName {
    name.parse().unwrap()
}

async fn counted(ledger: &Ledger, status: TaskStatus) -> u64 {
    *ledger.counts().await.unwrap().slot(status)
}

/// Ends a task in the given way, with as many attempts as necessary.
async fn end(ledger: &Ledger, id: TaskId, end: AttemptEnd) {
    loop {
        let claimed = claim(ledger, id, "b").await.unwrap();
        if end == AttemptEnd::Cancelled {
            let cancel = CancelTask {
                task: id,
                actor: "ada".into(),
                only_waiting: false,
            };
            ledger.apply(cancel).await.unwrap();
        }
        finish(ledger, report(&claimed, end)).await;
        promote(ledger).await;
        if stored(ledger, id).await.status.is_final() {
            return;
        }
    }
}

async fn status(ledger: &Ledger, id: TaskId) -> TaskStatus {
    stored(ledger, id).await.status
}
