//! What every backend must do, as one set of checks that runs against any of them.
//!
//! Each check gets a fresh store and panics, with the reason, where the store breaks the port's word.

mod accounts;
mod certificates;
mod committing;
mod orders;
mod pruning;
pub mod records;

use std::sync::Arc;

use super::Store;

/// Runs every check, each against a store that `make` has just made.
pub async fn run(make: impl Fn() -> Box<dyn Store>) {
    let fresh = || -> Arc<dyn Store> { Arc::from(make()) };

    accounts::found_by_id_and_key(&*fresh()).await;
    accounts::listed_by_id_in_pages(&*fresh()).await;
    accounts::the_revision_moves_before_a_change_is_told(&*fresh()).await;
    accounts::keys_are_unique(&*fresh()).await;
    accounts::external_keys_are_kept_whole(&*fresh()).await;

    orders::come_with_their_authorizations(&*fresh()).await;
    orders::listed_from_the_newest(&*fresh()).await;
    orders::authorizations_are_found_by_name_and_time(&*fresh()).await;
    orders::due_renewals_come_longest_due_first(&*fresh()).await;
    orders::renewals_are_counted_and_bounded(&*fresh()).await;
    orders::authorizations_for_trees_are_found_by_any_name_above(&*fresh()).await;
    orders::due_authorizations_come_longest_due_first(&*fresh()).await;

    certificates::kept_whole_in_every_state(&*fresh()).await;
    certificates::listed_through_every_filter(&*fresh()).await;
    certificates::intended_ones_are_listed(&*fresh()).await;
    certificates::feed_tells_each_change_of_status_once(&*fresh()).await;
    certificates::signed_ones_never_become_unsigned(&*fresh()).await;
    certificates::revoked_ones_are_listed_for_the_crl(&*fresh()).await;
    certificates::crl_numbers_only_rise(&*fresh()).await;
    certificates::blocked_keys_stay_as_first_blocked(&*fresh()).await;

    committing::a_stale_version_is_a_conflict_and_changes_nothing(&*fresh()).await;
    committing::a_refused_batch_leaves_nothing_behind(&*fresh()).await;
    committing::every_event_is_chained(&*fresh()).await;
    committing::the_change_signal_moves(&*fresh()).await;
    committing::concurrent_writers_of_one_record_win_one_at_a_time(fresh()).await;
    committing::refusals_do_not_spoil_their_neighbours(fresh()).await;
    committing::reads_are_snapshots(fresh()).await;

    pruning::takes_orders_that_are_over_and_what_only_they_named(&*fresh()).await;
    pruning::keeps_revoked_certificates_until_a_crl_after_their_end(&*fresh()).await;
    pruning::takes_the_expired_certificates_of_renewed_orders_earlier(&*fresh()).await;
    pruning::goes_in_portions_and_is_recorded(&*fresh()).await;
}
